"""Image files checked, and kept near as they are: in memory, or copied to a disk."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from threading import Semaphore
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from training.data.decoding.pillow import without_pillow_limits
from training.data.reading import ReadOptions
from training.data.sources import cache
from training.data.sources.inspection import (
    InspectionResult,
    ReadResult,
    inspect,
    inspect_all,
)
from training.data.sources.inspection_cache import InspectionCache
from training.storage import filesystem
from training.storage.writing import report_write_errors, write_atomically

REMOTE_THREADS = 32  # which wait for a network most of the time
DECODING = Semaphore(os.cpu_count() or 1)  # so that few large images are in memory
Item = TypeVar("Item")
T = TypeVar("T")


class CheckedFile(NamedTuple):
    """A file that was checked.

    Attributes:
        stored: Where to read the image: a place, or contents; or why it cannot be read.
        finding: What was found of it.
        copied: Whether a copy was made just now.
    """

    stored: ReadResult
    finding: InspectionResult
    copied: bool = False


def check(
    files: Sequence[str], reading: ReadOptions, root: str
) -> tuple[list[CheckedFile], list[str]]:
    """Checks files and keeps them near; reads only what is not known or not near yet.

    A file that fails to be read is out, even if a second look might succeed.

    Args:
        files: Places.
        reading: With the cache ``"none"``, images are read later from their places;
            with ``"memory"``, from contents; with ``"disk"``, from copies, which have
            the SHA-256 of their contents for a name and are made anew if they differ.
        root: The folder of the files.

    Returns:
        One for each file, and notes for the user.

    Raises:
        UsageError: There is not enough room.
    """
    remote = filesystem.is_remote(root)
    name = root if remote else os.path.abspath(root)
    known = InspectionCache(name, reading.max_pixels)
    states = _for_each(filesystem.state, files, REMOTE_THREADS if remote else 1)
    before = [known.get(state) for state in states]
    near = _near(files, before, reading, name)
    missing = [number for number, checked in enumerate(near) if checked is None]
    room = _require_room(reading, sum(states[number].size for number in missing))

    def look(number: int) -> CheckedFile:
        near[number] = checked = _look(files[number], before[number], reading)
        known.add(states[number], checked.finding)
        return checked

    threads = REMOTE_THREADS if remote else os.cpu_count() or 1
    copies = (
        report_write_errors(cache.folder())
        if reading.cache == "disk"
        else nullcontext()
    )
    with without_pillow_limits(), copies:
        looked = _for_each(look, missing, threads)
    if reading.cache == "disk":
        count = len({checked.stored for checked in looked if checked.copied})
        room = f"cached in {cache.folder()}: {count} of {len(files)} copied now"
    notes = [note for note in (room, known.save()) if note]
    return [checked for checked in near if checked], notes


def inspect_headers(files: Sequence[str], max_pixels: int) -> list[InspectionResult]:
    """Looks at the headers of extracted files, of those that are not known yet."""
    known = InspectionCache("headers", os.path.dirname(files[0]), max_pixels)
    states = [filesystem.state(file) for file in files]
    found = [known.get(state) for state in states]
    missing = [number for number, finding in enumerate(found) if finding is None]
    new = inspect_all([files[n] for n in missing], max_pixels, header_only=True)
    for number, finding in zip(missing, new, strict=True):
        found[number] = finding
        known.add(states[number], finding)
    known.save()
    return [finding for finding in found if finding]


def intact(files: Sequence[str], hashes: Sequence[bytes], name: str) -> list[bool]:
    """Tells which files are there and have the contents of these SHA-256.

    Args:
        files: Paths.
        hashes: One for each.
        name: Of the files together, so that they are read once only.
    """
    known = InspectionCache("contents", name)
    states = [filesystem.state(path) for path in files]
    found = [known.get(state) for state in states]

    def look(number: int) -> None:
        try:
            data = filesystem.read(files[number])
        except OSError:
            return
        found[number] = finding = InspectionResult(sha256=hashlib.sha256(data).digest())
        known.add(states[number], finding)

    unknown = [number for number, finding in enumerate(found) if finding is None]
    _for_each(look, unknown, os.cpu_count() or 1)
    known.save()
    pairs = zip(found, hashes, strict=True)
    return [
        finding is not None and finding.sha256 == sha256 for finding, sha256 in pairs
    ]


def _near(
    files: Sequence[str],
    before: Sequence[InspectionResult | None],
    reading: ReadOptions,
    name: str,
) -> list[CheckedFile | None]:
    """The files that need not be read now; None for those that do."""
    if reading.cache == "memory":
        return [None] * len(files)
    if reading.cache == "none":
        pairs = zip(files, before, strict=True)
        return [
            CheckedFile(place, finding) if finding else None for place, finding in pairs
        ]
    copies = {
        finding.sha256: str(_copy(finding.sha256)) for finding in before if finding
    }
    whole = intact(list(copies.values()), list(copies), f"copies of {name}")
    good = {hash_ for hash_, is_whole in zip(copies, whole, strict=True) if is_whole}
    return [
        CheckedFile(copies[finding.sha256], finding)
        if finding and finding.sha256 in good
        else None
        for finding in before
    ]


def _require_room(reading: ReadOptions, needed: int) -> str | None:
    if reading.cache == "disk":
        cache.require_disk(needed)
    if reading.cache != "memory":
        return None
    cache.require_memory("images", needed, "use --cache disk or none")
    return f"cached in memory: {needed / cache.GIBIBYTE:.2f} GiB"


def _look(
    place: str, before: InspectionResult | None, reading: ReadOptions
) -> CheckedFile:
    """Reads a file, inspects it unless that was done before, and keeps it near."""
    try:
        data = filesystem.read(place)
    except OSError as error:
        return CheckedFile(error, inspect(error, reading.max_pixels))
    finding = before
    if finding is None or finding.sha256 != hashlib.sha256(data).digest():
        with DECODING:
            finding = inspect(data, reading.max_pixels)
    if reading.cache == "memory":
        return CheckedFile(data, finding)
    if reading.cache == "none" or finding.bad is not None:
        return CheckedFile(place, finding)
    return CheckedFile(
        str(_copy(finding.sha256)), finding, _copied(data, finding.sha256)
    )


def _copied(data: bytes, sha256: bytes) -> bool:
    """Writes a copy unless it is there and intact; returns whether it did."""
    copy = _copy(sha256)
    with suppress(OSError):
        if copy.read_bytes() == data:
            return False
    copy.parent.mkdir(parents=True, exist_ok=True)
    # One that a power cut damages is not intact, and made anew.
    write_atomically(copy, partial(Path.write_bytes, data=data), synced=False)
    return True


def _copy(sha256: bytes) -> Path:
    name = sha256.hex()
    return cache.folder() / name[:2] / name


def _for_each(
    work: Callable[[Item], T], items: Iterable[Item], threads: int
) -> list[T]:
    """Maps items in order, showing progress; in threads where there are several."""
    listed = list(items)
    with ThreadPoolExecutor(threads) as pool:
        done = map(work, listed) if threads == 1 else pool.map(work, listed)
        label = "checking images"
        return list(
            tqdm(done, label, len(listed), disable=None, leave=False, delay=0.5)
        )
