"""Writes files atomically and reports write errors in one sentence."""

import csv
import io
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    """Writes a file completely, or leaves the old file (or no file) as it was.

    The permissions are those that ``open`` would set: the old file's, or ``rw-rw-rw-``
    minus the umask.

    Args:
        path: The file.
        write: Writes to the path it is given, which has the same suffix.
        synced: Whether to flush the file and its folder to disk before returning.

    Raises:
        UsageError: The path is not a regular file, such as ``/dev/null``.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UsageError(f"output must be a regular file, got {path}")
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(8)}{path.suffix}")
    try:
        temporary.touch(0o666, exist_ok=False)  # minus the umask
        kept = path if path.is_file() else temporary
        mode = stat.S_IMODE(kept.stat().st_mode)
        temporary.chmod(mode | stat.S_IWUSR)  # before the file has contents
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
    """Checks that a file can be written, before the work whose result it will hold.

    The check leaves no files or folders behind.

    Raises:
        UsageError: The file cannot be written.
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
    """Creates a folder and its parents, and flushes them to disk."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        flush(folder.parent)


def flush(path: Path) -> None:
    """Flushes a file, or the entries of a folder, to disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        if path.is_dir():  # a writable folder may be unreadable
            return
        raise
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes a JSON file atomically."""
    text = format_json(values) + "\n"
    write_atomically(path, lambda file: file.write_text(text, "utf-8"))


def write_csv(
    path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]
) -> None:
    """Writes a CSV file with a header atomically; without columns, an empty file."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    if columns:
        table.writeheader()
    table.writerows(rows)
    write_atomically(path, lambda file: file.write_text(text.getvalue(), "utf-8"))


def output_exists_error(path: Path, what: str | None) -> UsageError:
    """Returns the error for an output folder that already exists.

    Args:
        path: The folder.
        what: What --resume can continue in it, with its article; None: nothing.
    """
    do = "continue it with --resume or " if what else ""
    found = f"which contains {what or 'other files'}"
    if not path.is_dir():
        found = "which is not a folder"
    return UsageError(
        f"output folder must be new, got {path}, {found}; {do}choose another --out"
    )


@contextmanager
def report_write_errors(path: Path) -> Iterator[None]:
    """Converts errors of a full disk or an unusable path to one sentence.

    Errors about files other than ``path``, its contents and its temporary files stay
    unchanged.

    Raises:
        UsageError: The disk (or quota) is full, ``path`` is a URL or not writable, or
            a file in it has disappeared.
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
            "files saved before are intact: free space, then repeat the command "
            "(training.fit: with --resume)"
        ) from error


def _refused(number: int, file: Path, path: Path) -> str:
    """Returns the message for a file that is not writable or has disappeared."""
    if number == ENOENT and file.parent.is_dir():  # creating a file would work here
        return f"files must stay until the command ends, got {file} missing"
    return f"output path must be writable, got {path}: {os.strerror(number)}"


def _is_output(file: Any, path: Path) -> bool:
    """Returns whether ``file`` is ``path``, in it, above it, or its temporary file."""
    if not isinstance(file, str | bytes | os.PathLike):
        return False
    file, path = Path(os.fsdecode(file)).absolute(), path.absolute()
    if file.parent == path.parent and file.name.startswith(f".{path.stem}-"):
        return True
    return file.is_relative_to(path) or path.is_relative_to(file)
