"""Keeps training images decoded and shrunk, for devices that outrun the JPEG decoder.

A copy is a file of the pixels, uint8 ``(H, W, C)``, and their SHA-256. An uncompressed
PNG takes about seven times as long to read.
"""

import hashlib
import os
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from training.data.batches import report_changed_files
from training.data.examples import read_window
from training.data.sources import cache
from training.data.sources.files import recall
from training.data.sources.inspection import InspectionResult
from training.data.sources.inspection_cache import InspectionCache
from training.data.types import Size, Split, Tensor, fingerprint
from training.storage.writing import report_write_errors

VERSION = 1  # of the contents of copies
CHECKSUM = 32  # bytes after the pixels


def decode_once(split: Split, least: Size, channels: int) -> tuple[Split, str]:
    """Returns a split of decoded copies, which are made if necessary, and a note.

    A copy has the image, upright, shrunk as far as it still covers ``least``; a smaller
    image keeps its size.

    Args:
        split: Encoded images, with facts and hashes.
        least: Height and width in pixels.
        channels: 1 or 3.

    Raises:
        UsageError: The copies do not fit on the disk, or cannot be written.
        Stopped: An image has changed since it was checked.
    """
    assert split.facts is not None and split.hashes is not None
    sizes = _shrunk(split.facts.sizes.numpy(), least)
    home = cache.folder() / "decoded" / f"{least[0]}x{least[1]}x{channels}-v{VERSION}"
    names = [row.tobytes().hex() for row in split.hashes]
    paths = [str(home / name[:2] / name) for name in names]
    index = {path: number for number, path in enumerate(paths)}
    missing = [number for path, number in index.items() if not os.path.exists(path)]
    volume = sizes.prod(-1, dtype=np.int64) * channels + CHECKSUM
    cache.require_disk(int(volume[missing].sum()))
    shrink = tf.function(partial(_shrink, split, channels), autograph=False)

    def look(path: str) -> InspectionResult:
        place, size = tf.constant(index[path]), tf.constant(sizes[index[path]])
        return _check_or_make(Path(path), partial(shrink, place, size))

    # Processes that start together make different copies first.
    order = random.Random().sample([*index], len(index))
    known = InspectionCache("decoded", str(home), split.digest)
    with report_write_errors(cache.folder()), report_changed_files():
        found = dict(zip(order, recall(known, order, look), strict=True))
    prints = np.array([found[path].fingerprint for path in paths])
    with tf.device("CPU"):
        sides, hashes, images = map(tf.constant, (sizes, prints, paths))
    facts = replace(split.facts, sizes=sides, fingerprints=hashes)
    total = f"{volume[[*index.values()]].sum() / cache.GIBIBYTE:.2f} GiB in {home}"
    note = f"{len(missing)} of {len(index)} images decoded now, {total}"
    return replace(split, kind="decoded", images=images, facts=facts), note


def _shrunk(sizes: np.ndarray, least: Size) -> np.ndarray:
    """Returns the heights and widths of copies, int32 ``(N, 2)``."""
    scales = np.minimum((np.array(least) / sizes).max(-1, keepdims=True), 1)
    return np.rint(scales * sizes).astype(np.int32)


def _shrink(split: Split, channels: int, number: Tensor, size: Tensor) -> Tensor:
    with tf.device("CPU"):
        return read_window(split, number, (size[0], size[1], channels), None)


def _check_or_make(copy: Path, pixels: Callable[[], Tensor]) -> InspectionResult:
    """Returns the finding about a copy, which is made if it is missing or damaged."""
    data = copy.read_bytes() if copy.is_file() else b""
    if hashlib.sha256(data[:-CHECKSUM]).digest() != data[-CHECKSUM:]:
        data = pixels().numpy().tobytes()
        data += hashlib.sha256(data).digest()
        cache.write_copy(copy, data)
    return InspectionResult(fingerprint=int(fingerprint(data)))
