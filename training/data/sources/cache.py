"""The cache folder, and whether there is room in it or in memory."""

import os
import shutil
from pathlib import Path

import psutil

from keras_resnet.errors import UsageError
from training.storage.writing import report_write_errors

MEMORY_SHARE = 0.5  # of what is free
DISK_SHARE = 0.9  # likewise
GIBIBYTE = 2**30


def folder() -> Path:
    """Where copies and findings are; ``KERAS_RESNET_CACHE`` names another place.

    Raises:
        UsageError: No variable names a place, and the user has no home folder.
    """
    if named := os.environ.get("KERAS_RESNET_CACHE"):
        return Path(named)
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # no HOME, and the user's number is in no list of users
        raise UsageError(
            "cache must have a folder, got a user without a home folder; set "
            "KERAS_RESNET_CACHE to a folder"
        ) from None
    return Path(home) / "keras-resnet"


def require_memory(what: str, needed: int, advice: str) -> None:
    """Raises UsageError unless so many bytes fit in half of the free memory."""
    free = psutil.virtual_memory().available
    if needed > MEMORY_SHARE * free:
        raise UsageError(
            f"{what} must fit in half of the free memory, got {needed / GIBIBYTE:.1f} "
            f"GiB with {free / GIBIBYTE:.1f} GiB free; {advice}"
        )


def require_disk(needed: int) -> None:
    """Raises UsageError unless so many bytes fit where copies are kept."""
    home = folder()
    with report_write_errors(home):
        home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(home).free
    if needed > DISK_SHARE * free:
        raise UsageError(
            f"images must fit in nine tenths of the free disk at {home}, got "
            f"{needed / GIBIBYTE:.1f} GiB with {free / GIBIBYTE:.1f} GiB free; set "
            "KERAS_RESNET_CACHE to a larger one or use --cache none"
        )
