"""Provides a file lock that one process at a time can hold."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_resnet.errors import UsageError
from training.storage import system
from training.storage.writing import report_write_errors


@contextmanager
def exclusive_lock(path: Path, what: str, where: Path) -> Iterator[None]:
    """Holds a lock on a file inside the ``with``.

    Args:
        path: The file.
        what: Start of the error message, such as "a run must be trained".
        where: The folder in the error message.

    Raises:
        UsageError: Another process holds the lock, or the file cannot be written.
    """
    with report_write_errors(path):
        opened = path.open("a+", encoding="ascii")
    with opened as file:
        if not system.try_lock(file):
            file.seek(0)
            raise UsageError(
                f"{what} by one process at a time, got {where} locked by "
                f"process {file.read().strip()}; wait for it or stop it"
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
