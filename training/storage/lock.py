"""A lock that one process at a time holds."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_resnet.errors import UsageError
from training.storage.writing import report_write_errors


@contextmanager
def exclusive_lock(path: Path, what: str, where: Path) -> Iterator[None]:
    """Holds the lock in a file inside the ``with``.

    Args:
        path: The file.
        what: Must be done by one process at a time, for people.
        where: The folder in which it is done.

    Raises:
        UsageError: Another process holds it, or the file cannot be written.
    """
    with report_write_errors(path):
        opened = path.open("a+", encoding="ascii")
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UsageError(
                f"{what} by one process at a time, got {where} in the hands of "
                f"process {file.read().strip()}; wait for it or stop it"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
