"""Image files kept near, encoded as they are: in memory, or copied to a local disk."""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import psutil
from tqdm import tqdm

from keras_resnet.errors import UsageError
from training.data import places
from training.data.sources.inspection import Kept
from training.data.sources.reading import Cache
from training.writing import flush, write_atomically, written_to

MEMORY_SHARE = 0.5  # of what is free
DISK_SHARE = 0.9  # likewise
REMOTE_THREADS = 32  # which wait for a network most of the time
GIBIBYTE = 2**30
T = TypeVar("T")


def folder() -> Path:
    """Where copies are kept; ``KERAS_RESNET_CACHE`` names another place."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("KERAS_RESNET_CACHE") or Path(home) / "keras-resnet")


def kept(files: Sequence[str], cache: Cache) -> tuple[list[Kept], str | None]:
    """Returns what to read images from, in the order of their places.

    In the place of a file that cannot be read is the reason, also where a second look
    might succeed: what is kept is all of one kind.

    Args:
        files: Places.
        cache: ``"none"``: the places. ``"memory"``: contents. ``"disk"``: paths of
            copies, which are made where there are none of what the files now are.

    Returns:
        Contents or places or reasons, and what to tell the user.

    Raises:
        UsageError: There is not enough room.
    """
    if cache == "none":
        return list(files), None
    if cache == "memory":
        needed = sum(_for_each(places.size, files, "measuring files"))
        require_memory("images", needed, "use --cache disk or none")
        read = _for_each(_contents, files, "reading images")
        return [*read], f"cached in memory: {needed / GIBIBYTE:.2f} GiB"
    return _on_disk(files)


def _on_disk(files: Sequence[str]) -> tuple[list[Kept], str]:
    copies = _for_each(_copy_of, files, "looking for copies")
    missing = [
        (place, copy)
        for place, copy in zip(files, copies, strict=True)
        if isinstance(copy, Path) and not copy.is_file()
    ]
    sizes = _for_each(places.size, [place for place, _ in missing], "measuring files")
    require_disk(sum(sizes))
    with written_to(folder()):
        copied = _for_each(_copy, missing, "copying images")
    failed = {
        place: error
        for (place, _), error in zip(missing, copied, strict=True)
        if error is not None
    }
    stored: list[Kept] = [
        copy if isinstance(copy, OSError) else failed.get(place, str(copy))
        for place, copy in zip(files, copies, strict=True)
    ]
    return stored, f"cached in {folder()}: {len(missing)} of {len(files)} copied now"


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
    with written_to(home):
        home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(home).free
    if needed > DISK_SHARE * free:
        raise UsageError(
            f"images must fit in nine tenths of the free disk at {home}, got "
            f"{needed / GIBIBYTE:.1f} GiB with {free / GIBIBYTE:.1f} GiB free; set "
            "KERAS_RESNET_CACHE to a larger one or use --cache none"
        )


def _contents(place: str) -> bytes | OSError:
    try:
        return places.read(place)
    except OSError as error:
        return error


def _copy_of(place: str) -> Path | OSError:
    """The path of the copy of a file as it is now, or why there is none."""
    try:
        with places.os_errors():
            state = places.filesystem(place).ukey(place)
    except OSError as error:
        return error
    name = hashlib.sha256(os.fsencode(f"{place} {state}")).hexdigest()
    return folder() / name[:2] / name


def _copy(task: tuple[str, Path]) -> OSError | None:
    place, copy = task
    try:
        data = places.read(place)
    except OSError as error:
        return error
    copy.parent.mkdir(parents=True, exist_ok=True)

    def write(path: Path) -> None:
        path.write_bytes(data)
        flush(path)

    # Whole once it has its name; the name itself may be lost.
    write_atomically(copy, write, synced=False)
    return None


def _for_each(work: Callable[..., T], items: Sequence, label: str) -> list[T]:
    """Maps items in threads, showing progress."""
    with ThreadPoolExecutor(REMOTE_THREADS) as pool:
        done = pool.map(work, items)
        return list(tqdm(done, label, len(items), disable=None, leave=False, delay=2))
