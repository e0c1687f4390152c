"""Lists folders and files below a folder, on a disk or behind a URL.

Hidden entries, whose names start with a dot, are skipped. Links to folders are followed
on the first level only.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec.core

from keras_resnet.errors import UsageError
from training.storage import filesystem


def root(argument: str, what: str) -> str:
    """Returns the folder that the user named.

    Args:
        argument: A path or a URL.
        what: Kind of the folder in the error message, such as "idx folder".

    Raises:
        UsageError: It is not a folder or cannot be accessed.
    """
    found = filesystem.local(argument).rstrip("/") or "/"
    with _readable(found):
        if filesystem.is_remote(found):
            exists = filesystem.filesystem(found).isdir(found)
        else:
            exists = os.path.isdir(found)
    if not argument or not exists:
        file = ", which is not a folder" if os.path.exists(found) else ""
        raise UsageError(f"{what} must exist, got {argument!r}{file}")
    return found


def folders(root: str) -> dict[str, str]:
    """Maps the names of the folders in a folder, in order, to their places.

    Raises:
        UsageError: The folder cannot be read, or a link in it contains the link itself.
    """
    with _readable(root):
        if filesystem.is_remote(root):
            files = filesystem.filesystem(root)
            found = files.ls(root, detail=True)
            listed = [e["name"] for e in found if e["type"] == "directory"]
            names = [name.rstrip("/").rpartition("/")[2] for name in listed]
        else:
            names = [entry.name for entry in os.scandir(root) if entry.is_dir()]
    found = {name: f"{root.rstrip('/')}/{name}" for name in sorted(names)}
    found = {name: path for name, path in found.items() if not name.startswith(".")}
    for path in found.values():
        if not filesystem.is_remote(root):
            _require_tree(Path(path))
    return found


def files(root: str) -> list[str]:
    """Returns the files at any depth; a folder's files come before its folders.

    Raises:
        UsageError: The folder, or a folder in it, cannot be read.
    """
    with _readable(root):
        relative = _remote(root) if filesystem.is_remote(root) else _local(root)
        seen = [path for path in relative if not any(p[0] == "." for p in path)]
    ordered = sorted(seen, key=lambda p: [*((1, part) for part in p[:-1]), (0, p[-1])])
    return ["/".join((root.rstrip("/"), *path)) for path in ordered]


def _remote(root: str) -> Iterator[tuple[str, ...]]:
    files = filesystem.filesystem(root)
    above = fsspec.core.url_to_fs(root)[1].rstrip("/")
    for path in files.find(root):
        yield tuple(part for part in path.removeprefix(above).split("/") if part)


def _local(root: str) -> Iterator[tuple[str, ...]]:
    def refuse(error: OSError) -> None:
        raise error  # os.walk would ignore it

    for parent, _, names in os.walk(root, onerror=refuse):
        inside = Path(parent).relative_to(root).parts
        yield from ((*inside, name) for name in names)


def _require_tree(path: Path) -> None:
    if path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve()):
        raise UsageError(
            f"class folder must not be a link to a folder that contains it, got {path} "
            f"linked to {path.resolve()}"
        )


@contextmanager
def _readable(root: str) -> Iterator[None]:
    try:
        with filesystem.os_errors():
            yield
    except OSError as error:
        place = error.filename or root
        raise UsageError(
            f"folder must be readable, got {place}: {filesystem.reason(error)}"
        ) from None
