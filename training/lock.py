"""One process at a time in a run's folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from keras_resnet.errors import UsageError
from training.runs import Run


@contextmanager
def locked(run: Run) -> Iterator[None]:
    """Keeps other processes from training in the run's folder inside the ``with``.

    The lock is the system's: it ends with the process, however that ends.

    Raises:
        UsageError: Another process holds it.
    """
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    with (run.checkpoints / "lock").open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UsageError(
                f"a run must be trained by one process at a time, got {run.path} in "
                f"the hands of process {file.read().strip()}; wait for it or stop it"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
