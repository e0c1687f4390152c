"""Reads files on local disks or, through fsspec, behind URLs.

A *place* is a path or a URL such as ``gs://bucket/photos`` or ``s3://bucket/photos``.
"""

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import fsspec

from keras_resnet.errors import UsageError, is_text

# File systems store times in milliseconds, old ones in steps of up to 2 seconds. A file
# that has just been written may change again within the same step.
SETTLED_NS = 2 * 10**9
# Parts of the names of remote file attributes that change with the contents.
MARKS = ("etag", "md5", "mtime", "modif", "updated", "created", "generation")


class State(NamedTuple):
    """The current state of a file, determined without reading it.

    Attributes:
        key: Changes whenever place or contents change; None: cannot be guaranteed.
        size: Size in bytes; 0 if unknown.
    """

    key: bytes | None
    size: int


def is_remote(place: str) -> bool:
    """Returns whether a place is not on a local disk."""
    return "://" in place and not place.startswith("file://")


def local(place: str) -> str:
    """Returns a local place as a path."""
    return place.removeprefix("file://")


def filesystem(place: str) -> Any:
    """Returns the fsspec file system that a place is on.

    Raises:
        UsageError: The scheme is unknown, or its client is not installed or set up.
    """
    return _filesystem(place.partition("://")[0] if is_remote(place) else "file")


@cache
def _filesystem(scheme: str) -> Any:
    try:
        return fsspec.filesystem(scheme)
    except ImportError as error:
        raise UsageError(
            f"the client for {scheme}:// must be installed, got {error}; for gs and s3 "
            "use pip install residual-keras[remote]"
        ) from None
    except ValueError:
        raise UsageError(
            "place must be a path or a URL of a scheme that fsspec knows, got "
            f"{scheme}://"
        ) from None
    except Exception as error:  # clients look for an account when created
        raise UsageError(
            f"access to {scheme}:// must be set up on this machine, got {reason(error)}"
        ) from None


def read(place: str) -> bytes:
    """Returns a file's contents.

    Raises:
        OSError: The file cannot be read or is not regular, or its name is not UTF-8.
    """
    if not is_text(place):
        raise OSError("the file name is not UTF-8")
    with os_errors():
        if is_remote(place):
            return bytes(filesystem(place).cat_file(place))
        if not stat.S_ISREG(os.stat(local(place)).st_mode):
            raise OSError("not a regular file")
        with open(local(place), "rb") as file:
            return file.read()


def state(place: str) -> State:
    """Returns the state that shows whether a file has changed since it was read.

    For a local file it covers the size, the inode, and the times of the last change of
    contents and inode. This detects a file that replaced another one of the same size
    and time, as ``cp -p``, ``touch -r`` and a rename can do.
    """
    try:
        with os_errors():
            return _remote_state(place) if is_remote(place) else _local_state(place)
    except OSError:
        return State(None, 0)


def _local_state(place: str) -> State:
    path = os.path.abspath(local(place))
    found = os.stat(path)
    ago = [time.time_ns() - t for t in (found.st_ctime_ns, found.st_mtime_ns)]
    settled = ago[0] > SETTLED_NS and abs(ago[1]) > SETTLED_NS  # mtime may be any value
    facts = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    return State(_key(path, facts) if settled else None, found.st_size)


def _remote_state(place: str) -> State:
    info = filesystem(place).info(place)
    marked = any(mark in name.lower() for name in info for mark in MARKS)
    return State(_key(place, info) if marked else None, int(info.get("size") or 0))


def _key(place: str, facts: object) -> bytes:
    return hashlib.sha256(os.fsencode(f"{place}\n{facts}")).digest()


@contextmanager
def os_errors() -> Iterator[None]:
    """Converts the errors of remote file systems' clients to OSError."""
    try:
        yield
    except (OSError, UsageError):
        raise
    except Exception as error:
        raise OSError(reason(error)) from error


def reason(error: Exception) -> str:
    """Returns an error's message in one line, without TensorFlow's operation names."""
    text = error.strerror if isinstance(error, OSError) else None
    text = re.sub(r"{{.*?}}| \[Op:.*", "", text or str(error), flags=re.DOTALL)
    return " ".join(text.split())[:200] or type(error).__name__
