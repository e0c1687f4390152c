"""Keeps copies in the cache folder; checks the free space on disk and in memory."""

import os
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

from keras_resnet.errors import UsageError, require_local, require_text
from training.storage.writing import report_write_errors, write_atomically

MEMORY_SHARE = 0.5  # of the free memory
DISK_SHARE = 0.9  # of the free disk space
GIBIBYTE = 2**30


def folder() -> Path:
    """Returns the cache folder, which ``KERAS_RESNET_CACHE`` can change.

    Raises:
        UsageError: The folder is a URL or its name is not UTF-8, or no variable names a
            folder and the user has no home folder.
    """
    if named := os.environ.get("KERAS_RESNET_CACHE"):
        return _usable(named)
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # no HOME, and the user ID is unknown
        raise UsageError(
            "cache must have a folder, got a user without a home folder; set "
            "KERAS_RESNET_CACHE to a folder"
        ) from None
    return _usable(os.path.join(home, "keras-resnet"))


def _usable(place: str) -> Path:
    require_local(place)
    require_text("folder of the cache", os.path.abspath(place))
    return Path(place)


def write_copy(copy: Path, data: bytes) -> bool:
    """Writes a copy unless an intact one exists; returns whether it wrote one."""
    with suppress(OSError):
        if copy.read_bytes() == data:
            return False
    copy.parent.mkdir(parents=True, exist_ok=True)
    # If a power failure damages the copy, the next check replaces it.
    write_atomically(copy, partial(Path.write_bytes, data=data), synced=False)
    return True


def copy_path(sha256: bytes) -> Path:
    """Returns the place of the copy of a file with this SHA-256."""
    name = sha256.hex()
    return folder() / name[:2] / name


def require_memory(what: str, needed: int, advice: str) -> None:
    """Raises UsageError unless data fit in half of the free memory.

    Args:
        what: Name of the data in the message.
        needed: Size of the data in bytes.
        advice: How to proceed otherwise, for the message.
    """
    free = psutil.virtual_memory().available
    if needed > MEMORY_SHARE * free:
        raise UsageError(
            f"{what} must fit in half of the free memory, got {needed / GIBIBYTE:.1f} "
            f"GiB with {free / GIBIBYTE:.1f} GiB free; {advice}"
        )


def require_disk(needed: int) -> None:
    """Raises UsageError unless ``needed`` bytes fit in the cache folder."""
    home = folder()
    with report_write_errors(home):
        home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(home).free
    if needed > DISK_SHARE * free:
        raise UsageError(
            f"images must fit in 90 % of the free disk space at {home}, got "
            f"{needed / GIBIBYTE:.1f} GiB with {free / GIBIBYTE:.1f} GiB free; set "
            "KERAS_RESNET_CACHE to a larger disk or use --cache none"
        )
