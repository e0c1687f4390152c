"""Files wherever they are: on this machine's disks, or behind a URL, through fsspec.

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

from keras_resnet.errors import UsageError

# A file system's clock ticks in milliseconds, an old one's in up to 2 seconds. A file
# that has just been written may change once more within the same tick.
SETTLED_NS = 2 * 10**9
# What remote file systems tell of a file that changes with its contents.
MARKS = ("etag", "md5", "mtime", "modif", "updated", "created", "generation")


class State(NamedTuple):
    """What a file is now, without reading it.

    Attributes:
        key: Differs whenever place or contents do; None: nothing vouches for that.
        size: In bytes; 0 where it cannot be known.
    """

    key: bytes | None
    size: int


def is_remote(place: str) -> bool:
    """Whether a place is not on this machine's disks."""
    return "://" in place and not place.startswith("file://")


def local(place: str) -> str:
    """Returns a local place as a path."""
    return place.removeprefix("file://")


def filesystem(place: str) -> Any:
    """Returns the fsspec file system that a place is on.

    Raises:
        UsageError: Its scheme is unknown, or what it needs is not installed or set up.
    """
    return _filesystem(place.partition("://")[0] if is_remote(place) else "file")


@cache
def _filesystem(scheme: str) -> Any:
    try:
        return fsspec.filesystem(scheme)
    except ImportError as error:
        raise UsageError(
            f"what reads {scheme}:// must be installed (for gs and s3: pip install "
            f"keras-resnet[remote]), got: {error}"
        ) from None
    except ValueError:
        raise UsageError(
            "place must be a path or a URL of a scheme that fsspec knows, got "
            f"{scheme}://"
        ) from None
    except Exception as error:  # clients look for an account as they are made
        raise UsageError(
            f"{scheme}:// must be set up on this machine, got: {reason(error)}"
        ) from None


def is_text(name: str) -> bool:
    """Whether a name is UTF-8, without which neither graphs nor reports can hold it."""
    try:
        name.encode()
    except UnicodeEncodeError:  # Python stands in for other bytes by surrogates
        return False
    return True


def read(place: str) -> bytes:
    """Returns a file's contents.

    Raises:
        OSError: It cannot be read, is no regular file, or has a name that is not UTF-8.
    """
    if not is_text(place):
        raise OSError("its name is not UTF-8")
    with os_errors():
        if is_remote(place):
            return bytes(filesystem(place).cat_file(place))
        if not stat.S_ISREG(os.stat(local(place)).st_mode):
            raise OSError("not a regular file")
        with open(local(place), "rb") as file:
            return file.read()


def state(place: str) -> State:
    """Returns what tells whether a file is still the one that was read before.

    Of a local file: size, inode, and when its contents and its inode were changed. So
    a file is noticed that took another's place with the same size and time, as
    ``cp -p``, ``touch -r`` and a rename do it.
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
    settled = ago[0] > SETTLED_NS and abs(ago[1]) > SETTLED_NS  # mtime may be any time
    facts = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    return State(_key(path, facts) if settled else None, found.st_size)


def _remote_state(place: str) -> State:
    told = filesystem(place).info(place)
    marked = any(mark in name.lower() for name in told for mark in MARKS)
    return State(_key(place, told) if marked else None, int(told.get("size") or 0))


def _key(place: str, facts: object) -> bytes:
    return hashlib.sha256(os.fsencode(f"{place}\n{facts}")).digest()


@contextmanager
def os_errors() -> Iterator[None]:
    """Turns the many errors of remote file systems' clients into OSError."""
    try:
        yield
    except (OSError, UsageError):
        raise
    except Exception as error:
        raise OSError(reason(error)) from error


def reason(error: Exception) -> str:
    """What an error says, in a line, without TensorFlow's operations around it."""
    said = error.strerror if isinstance(error, OSError) else None
    said = re.sub(r"{{.*?}}| \[Op:.*", "", said or str(error), flags=re.DOTALL)
    return " ".join(said.split())[:200] or type(error).__name__
