"""Files written so that they are complete or absent, and errors told in a sentence."""

import os
import secrets
import stat
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

from keras_resnet.errors import UsageError, require_local
from training.storage.json_text import format_json

FULL_DISK = (ENOSPC, EDQUOT, EFBIG)
NO_PLACE = (EACCES, EEXIST, EISDIR, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM, EROFS)


def write_atomically(
    path: Path, write: Callable[[Path], object], *, synced: bool = True
) -> None:
    """Writes a file so that it is complete or, as before, absent or the old one.

    Its permissions are those that ``open`` would give: the old file's, or what the
    umask leaves of ``rw-rw-rw-``.

    Args:
        path: The file.
        write: Writes a file of the path it is given (of the same suffix).
        synced: It is on the disk, under its name, when this returns.

    Raises:
        UsageError: There is something else than a file, say ``/dev/null``.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UsageError(f"output must be a regular file, got {path}")
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(8)}{path.suffix}")
    try:
        temporary.touch(0o666, exist_ok=False)  # less what the umask forbids
        kept = path if path.is_file() else temporary
        mode = stat.S_IMODE(kept.stat().st_mode)
        temporary.chmod(mode | stat.S_IWUSR)  # before there is anything to read
        write(temporary)
        temporary.chmod(mode)
        if synced:
            flush(temporary)
        temporary.replace(path)
        if synced:
            flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """Checks that a file can be written, before the work whose result it is to hold.

    Nothing is left behind, not even the folders above it.

    Raises:
        UsageError: It cannot.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UsageError(f"output must be a regular file, got {path}")
        folder = next(above for above in path.absolute().parents if above.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"output path must be writable, got {path}: {error.strerror}"
        ) from error


def make_folder(path: Path) -> None:
    """Makes a folder, and those above it, that a power cut does not take away."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        flush(folder.parent)


def flush(path: Path) -> None:
    """Has the disk write a file, or the entries of a folder, before it returns."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        if path.is_dir():  # one that may be written to need not be readable
            return
        raise
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes JSON atomically."""
    text = format_json(values) + "\n"
    write_atomically(path, lambda file: file.write_text(text, "utf-8"))


def output_exists_error(path: Path, what: str | None) -> UsageError:
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
def report_write_errors(path: Path) -> Iterator[None]:
    """Turns the many errors of a full disk or an impossible path into one sentence.

    Errors about other files than ``path``, those in it and its drafts are left as they
    are.

    Raises:
        UsageError: The disk (or quota) is full, or ``path`` is a URL or cannot be
            written to, or a file in it vanished.
    """
    require_local(path)
    try:
        yield
    except Exception as error:
        number, file = (getattr(error, n, None) for n in ("errno", "filename"))
        if file is not None and not _is_output(file, path):
            raise
        if number in NO_PLACE and file is not None:
            raise UsageError(_refused(number, Path(os.fsdecode(file)), path)) from error
        full = "No space left" in str(error) or "File too large" in str(error)
        if not full and number not in FULL_DISK:
            raise
        raise UsageError(
            f"disk must have room for {path}, got {str(error).splitlines()[0]:.200}; "
            "what was saved before is intact: free space, then repeat the command "
            "(training.fit: with --resume)"
        ) from error


def _refused(number: int, file: Path, path: Path) -> str:
    """What to say of a file that cannot be written, or is not there to be read."""
    if number == ENOENT and file.parent.is_dir():  # where a new file could be made
        return f"file must stay until the command has ended, got no {file} any more"
    return f"output path must be writable, got {path}: {os.strerror(number)}"


def _is_output(file: Any, path: Path) -> bool:
    """Whether an error's file is a path, in it, above it, or a draft of it."""
    if not isinstance(file, str | bytes | os.PathLike):
        return False
    file, path = Path(os.fsdecode(file)).absolute(), path.absolute()
    if file.parent == path.parent and file.name.startswith(f".{path.stem}-"):
        return True
    return file.is_relative_to(path) or path.is_relative_to(file)
