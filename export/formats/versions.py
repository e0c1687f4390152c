"""Manages folders of versions for TensorFlow Serving: ``DIR/1``, ``DIR/2``, ….

A version appears under its number once it is complete and on the disk. Before that, and
during its removal, it has a hidden name, which servers ignore.
"""

import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from export.load import versions
from keras_resnet.errors import UsageError
from training.storage import system
from training.storage.writing import flush, make_folder

DAY = 24 * 3600


def require_no_version(folder: Path) -> None:
    """Raises UsageError if a folder is itself a version, which must not change."""
    if os.path.exists(folder / "saved_model.pb"):  # False without permission
        raise UsageError(
            f"output must be outside a version, got the SavedModel {folder}; name "
            f"the folder of versions, for example {folder.parent}"
        )


@contextmanager
def draft(out: Path) -> Iterator[Path]:
    """Creates a hidden folder in ``out`` and removes what remains of it at the end.

    It also removes the drafts of killed processes.
    """
    make_folder(out)
    for left in filter(_is_stale, out.glob(".draft,*,*,*")):
        shutil.rmtree(left, ignore_errors=True)
    prefix = f".draft,{socket.gethostname()},{os.getpid()},"
    path = out / f"{prefix}{secrets.token_hex(8)}"
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def publish(complete: Path, out: Path) -> Path:
    """Renames a complete draft to the next free number in ``out``; returns its path."""
    _sync(complete)
    while True:
        target = out / str(max(versions(out), default=0) + 1)
        try:
            os.rename(complete, target)
        except OSError:  # another export took the number
            if not target.exists():
                raise
        else:
            flush(out)
            return target


def replace(complete: Path, out: Path) -> Path:
    """Replaces the newest version by a complete draft; returns its path.

    The two swap names in one step of the file system, so that the number always refers
    to a complete version, even if this process is killed. If there is no version, the
    draft becomes the first one.

    Raises:
        UsageError: The file system does not support swapping folders.
    """
    found = list(versions(out).values())
    if not found:
        return publish(complete, out)
    _sync(complete)
    target = found[-1]
    try:
        system.swap(complete, target)
    except OSError as error:
        raise UsageError(
            "file system must support swapping folders for --overwrite, got "
            f"{error.strerror or error} at {out}; write a new version with --keep 1 "
            "instead"
        ) from None
    flush(out)
    return target


def prune(out: Path, keep: int, written: Path) -> list[Path]:
    """Removes all versions except the newest ones and the one just written.

    Args:
        out: Folder of the versions.
        keep: Number of versions to keep; 0: all.
        written: The version just written.

    Returns:
        The removed versions.
    """
    old = list(versions(out).values())[:-keep] if keep else []
    old = [version for version in old if version != written]
    with draft(out) as hidden:
        for version in old:
            os.rename(version, hidden / version.name)
    return old


def _is_stale(path: Path) -> bool:
    """Returns whether the process that created a draft has ended."""
    _, host, process, _ = path.name.split(",")
    if host == socket.gethostname():
        return not psutil.pid_exists(int(process))
    return time.time() - path.stat().st_mtime > DAY


def _sync(folder: Path) -> None:
    """Flushes a folder and its contents to the disk."""
    for path in folder.rglob("*"):
        flush(path)
    flush(folder)
