"""Checks image files and caches them, encoded, in memory or on a disk."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from threading import Semaphore
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from keras_resnet.streams import libraries_silenced
from training.data.decoding.pillow import without_pillow_limits
from training.data.reading import ReadOptions
from training.data.sources import cache
from training.data.sources.inspection import (
    InspectionResult,
    ReadResult,
    Stored,
    inspect,
)
from training.data.sources.inspection_cache import InspectionCache
from training.storage import filesystem
from training.storage.writing import report_write_errors

REMOTE_THREADS = 32  # they mostly wait for the network connection
DECODING = Semaphore(os.cpu_count() or 1)  # limits the decoded images in memory
Item = TypeVar("Item")
T = TypeVar("T")


class CheckedFile(NamedTuple):
    """A checked file.

    Attributes:
        stored: Place or contents of the image, or the error that reading it raised.
        finding: The result of the inspection.
        copied: Whether a copy was made during this check.
    """

    stored: ReadResult
    finding: InspectionResult
    copied: bool = False


def check(
    files: Sequence[str], reading: ReadOptions, root: str
) -> tuple[list[CheckedFile], list[str]]:
    """Checks and caches files; reads only files that are not yet known or cached.

    A file that cannot be read is not read a second time.

    Args:
        files: Places of the files.
        reading: With the cache ``"none"``, images are read later from their places;
            with ``"memory"``, from their contents; with ``"disk"``, from copies. A copy
            is named by the SHA-256 of its contents and is replaced if it differs.
        root: The folder of the files.

    Returns:
        One result per file, and notes for the user.

    Raises:
        UsageError: There is not enough memory or disk space.
    """
    remote = filesystem.is_remote(root)
    name = root if remote else os.path.abspath(root)
    known = InspectionCache(name, reading.max_pixels)
    states = _map(filesystem.state, files, REMOTE_THREADS if remote else 1)
    before = [known.get(state) for state in states]
    results = _reuse(files, before, reading, name)
    missing = [number for number, checked in enumerate(results) if checked is None]
    needed = sum(states[number].size for number in missing)
    _require_room(reading, needed)

    def check_file(number: int) -> None:
        results[number] = checked = _check_file(files[number], before[number], reading)
        known.add(states[number], checked.finding)

    with without_pillow_limits(), libraries_silenced(), _copying(reading):
        _map(check_file, missing, REMOTE_THREADS if remote else os.cpu_count() or 1)
    checked = [result for result in results if result]
    notes = (_describe_cache(reading, needed, checked), known.save())
    return checked, [note for note in notes if note]


def inspect_headers(
    images: Sequence[Stored], max_pixels: int
) -> list[InspectionResult]:
    """Inspects the headers of images; findings about files are cached."""
    look = partial(inspect, max_pixels=max_pixels, header_only=True)
    with without_pillow_limits(), libraries_silenced():
        paths = [image for image in images if isinstance(image, str)]
        if not paths:
            return _map(look, images, os.cpu_count() or 1)
        known = InspectionCache("headers", os.path.dirname(paths[0]), max_pixels)
        return recall(known, paths, look)


def intact(files: Sequence[str], hashes: Sequence[bytes], name: str) -> list[bool]:
    """Returns for each file whether it exists and its contents have the given SHA-256.

    Args:
        files: Paths of the files.
        hashes: SHA-256 for each file.
        name: Name of this set of files in the cache, which avoids reading them again.
    """

    def look(file: str) -> InspectionResult:
        try:
            data = filesystem.read(file)
        except OSError as error:
            return InspectionResult(bad=filesystem.reason(error))
        return InspectionResult(sha256=hashlib.sha256(data).digest())

    found = recall(InspectionCache("contents", name), files, look)
    pairs = zip(found, hashes, strict=True)
    return [finding.sha256 == sha256 for finding, sha256 in pairs]


def recall(
    known: InspectionCache,
    files: Sequence[str],
    look: Callable[[str], InspectionResult],
) -> list[InspectionResult]:
    """Returns the cached findings about files, after looking at the other files."""
    states = [filesystem.state(file) for file in files]
    found = dict(enumerate(map(known.get, states)))
    missing = [number for number, finding in found.items() if finding is None]
    new = _map(look, [files[number] for number in missing], os.cpu_count() or 1)
    for number, finding in zip(missing, new, strict=True):
        known.add(states[number], finding)
        found[number] = finding
    known.save()
    return [finding for finding in found.values() if finding]


def _reuse(
    files: Sequence[str],
    before: Sequence[InspectionResult | None],
    reading: ReadOptions,
    name: str,
) -> list[CheckedFile | None]:
    """Returns the results that need no reading of the file; None for the others."""
    if reading.cache == "memory":
        return [None] * len(files)
    if reading.cache == "none":
        pairs = zip(files, before, strict=True)
        return [
            CheckedFile(place, finding) if finding else None for place, finding in pairs
        ]
    known = {finding.sha256 for finding in before if finding}
    copies = {sha256: str(cache.copy_path(sha256)) for sha256 in known}
    whole = intact(list(copies.values()), list(copies), f"copies of {name}")
    good = {hash_ for hash_, is_whole in zip(copies, whole, strict=True) if is_whole}
    return [
        CheckedFile(copies[finding.sha256], finding)
        if finding and finding.sha256 in good
        else None
        for finding in before
    ]


def _require_room(reading: ReadOptions, needed: int) -> None:
    if reading.cache == "disk":
        cache.require_disk(needed)
    if reading.cache == "memory":
        cache.require_memory("images", needed, "use --cache disk or none")


def _copying(reading: ReadOptions) -> AbstractContextManager[None]:
    disk = reading.cache == "disk"
    return report_write_errors(cache.folder()) if disk else nullcontext()


def _describe_cache(
    reading: ReadOptions, needed: int, checked: Sequence[CheckedFile]
) -> str | None:
    if reading.cache == "memory":
        return f"cached in memory: {needed / cache.GIBIBYTE:.2f} GiB"
    if reading.cache == "none":
        return None
    new = len({file.stored for file in checked if file.copied})
    return f"cached in {cache.folder()}: {new} of {len(checked)} copied now"


def _check_file(
    place: str, before: InspectionResult | None, reading: ReadOptions
) -> CheckedFile:
    """Reads a file, inspects it unless its finding is known, and caches it."""
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
    copy = cache.copy_path(finding.sha256)
    return CheckedFile(str(copy), finding, cache.write_copy(copy, data))


def _map(work: Callable[[Item], T], items: Iterable[Item], threads: int) -> list[T]:
    """Maps items in order with a progress bar, in threads if there are several."""
    listed = list(items)
    with ThreadPoolExecutor(threads) as pool:
        done = map(work, listed) if threads == 1 else pool.map(work, listed)
        label = "reading images"
        return list(
            tqdm(done, label, len(listed), disable=None, leave=False, delay=0.5)
        )
