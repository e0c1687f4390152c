"""Files written so that they are complete or absent, and errors told in a sentence."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import (
    EACCES,
    EDQUOT,
    EEXIST,
    EFBIG,
    EISDIR,
    ENAMETOOLONG,
    ENOENT,
    ENOSPC,
    ENOTDIR,
    EPERM,
    EROFS,
)
from pathlib import Path
from typing import Any

from keras_resnet.errors import UsageError
from training.readable import readable

FULL_DISK = (ENOSPC, EDQUOT, EFBIG)
NO_PLACE = (EACCES, EEXIST, EISDIR, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM, EROFS)


def write_atomically(
    path: Path, write: Callable[[Path], object], *, synced: bool = True
) -> None:
    """Writes a file so that it is complete or, as before, absent or the old one.

    Args:
        path: The file.
        write: Writes a file of the path it is given (of the same suffix).
        synced: It is on the disk when this returns.
    """
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
    )
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        if synced:
            flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Has the disk write a file, or the entries of a folder, before it returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes JSON atomically."""
    text = readable(values) + "\n"
    write_atomically(path, lambda file: file.write_text(text, "utf-8"))


def taken(path: Path, what: str | None) -> UsageError:
    """What to say of an output folder that is not new.

    Args:
        path: The folder.
        what: What in it can be continued, with its article; None: nothing can.
    """
    do = "continue it with --resume or " if what else ""
    found = f"with {what or 'something else'} in it"
    if not path.is_dir():
        found = "which is no folder"
    return UsageError(
        f"output folder must be new, got {path} {found}; {do}choose another --out"
    )


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Turns the many errors of a full disk or an impossible path into one sentence.

    Errors about files that are not beside or below ``path`` are left as they are.

    Raises:
        UsageError: The disk (or quota) is full, or ``path`` cannot be written to.
    """
    try:
        yield
    except Exception as error:
        number = getattr(error, "errno", None)
        if not _concerns(getattr(error, "filename", None), path):
            raise
        if number in NO_PLACE:
            raise UsageError(
                f"output path must be writable, got {path}: {os.strerror(number)}"
            ) from error
        full = "No space left" in str(error) or "File too large" in str(error)
        if not full and number not in FULL_DISK:
            raise
        raise UsageError(
            f"disk must have room for {path}, got {str(error).splitlines()[0]:.200}; "
            "what was saved before is intact: free space, then repeat the command "
            "(training.fit: with --resume)"
        ) from error


def _concerns(file: Any, path: Path) -> bool:
    """Whether an error's file is beside or below a path, as far as it is known."""
    if not isinstance(file, str | os.PathLike):
        return True
    return Path(file).absolute().is_relative_to(path.absolute().parent)
