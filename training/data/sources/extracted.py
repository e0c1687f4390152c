"""Reads the encoded images of a prepared data set into memory or to files."""

import hashlib
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from training.data.sources import cache
from training.data.sources.files import intact
from training.data.sources.inspection import Stored
from training.storage import filesystem, system
from training.storage.writing import report_write_errors, write_atomically

Keys = tuple[str, str]  # the names of the image and of the label feature
Examples = tuple[list[Stored], list[int], list[bytes]]  # images, labels, SHA-256


def contents(builder: Any, split: str, keys: Keys) -> Examples:
    """Returns contents, labels and SHA-256 of the images of a split.

    Args:
        builder: The TFDS builder of the prepared data set.
        split: Name of the split in TFDS.
        keys: Names of the image and the label feature.
    """
    images, labels = zip(*_examples(builder, split, keys), strict=True)
    return list(images), list(labels), [hashlib.sha256(i).digest() for i in images]


def files(builder: Any, split: str, keys: Keys) -> Examples:
    """Returns paths, labels and SHA-256 of the images of a split, stored as files.

    Writes the files once, and again if one of them has changed. ``examples.json``,
    written last, marks them as complete. For the arguments, see ``contents``.

    Raises:
        UsageError: The disk does not have enough space.
    """
    folder = _folder(builder, split)
    complete = folder / "examples.json"
    found = _load_extracted(folder, complete)
    if found is None:
        cache.require_disk(builder.info.splits[split].num_bytes)
        with report_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            labels, hashes = _extract(folder, _examples(builder, split, keys))
            text = json.dumps({"labels": labels, "sha256": [h.hex() for h in hashes]})
            write_atomically(complete, lambda path: path.write_text(text, "utf-8"))
        found = [*_paths(folder, len(labels))], labels, hashes
    return found


def _load_extracted(folder: Path, complete: Path) -> Examples | None:
    """Returns the files of an earlier extraction if they are complete and intact."""
    try:
        stored = json.loads(complete.read_text("utf-8"))
        labels, hashes = stored["labels"], list(map(bytes.fromhex, stored["sha256"]))
        paths = _paths(folder, len(labels))
        whole = all(intact(paths, hashes, str(folder)))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return ([*paths], labels, hashes) if whole else None


def _extract(
    folder: Path, examples: Iterator[tuple[bytes, int]]
) -> tuple[list[int], list[bytes]]:
    """Writes the files; returns their labels and SHA-256."""
    labels, hashes = [], []
    for number, (image, label) in enumerate(examples):
        path = _path(folder, number)
        path.parent.mkdir(exist_ok=True)
        # Another process may be writing or reading the file.
        write_atomically(path, partial(Path.write_bytes, data=image), synced=False)
        labels.append(label)
        hashes.append(hashlib.sha256(image).digest())
    system.sync_files()  # once for all files
    return labels, hashes


def _examples(builder: Any, split: str, keys: Keys) -> Iterator[tuple[bytes, int]]:
    """Yields encoded images and labels in their stored order."""
    import tensorflow_datasets as tfds

    image, label = keys
    decoders = {image: tfds.decode.SkipDecoding()}
    if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
        examples = iter(builder.as_data_source(split=split, decoders=decoders))
    else:
        examples = builder.as_dataset(
            split=split,
            decoders=decoders,
            read_config=tfds.ReadConfig(try_autocache=False),
            shuffle_files=False,
        ).as_numpy_iterator()
    count = builder.info.splits[split].num_examples
    for example in tqdm(examples, f"reading {split}", count, disable=None, leave=False):
        yield bytes(example[image]), int(np.asarray(example[label]))


def _folder(builder: Any, split: str) -> Path:
    """Returns the cache folder for the current files of the split."""
    info = builder.info.splits[split]
    shards = [str(path) for path in info.filepaths]
    states = [filesystem.state(shard).key for shard in shards]
    if None in states:  # just prepared
        time.sleep(filesystem.SETTLED_NS / 1e9)
        states = [filesystem.state(shard).key for shard in shards]
    # A shard whose state is uncertain gets a new key, so earlier files are not reused.
    names = [key.hex() if key else time.time_ns() for key in states]
    state = json.dumps([str(builder.data_dir), split, names])
    return cache.folder() / "tfds" / hashlib.sha256(state.encode()).hexdigest()


def _paths(folder: Path, count: int) -> list[str]:
    return [str(_path(folder, number)) for number in range(count)]


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number // 1000:06}" / f"{number % 1000:03}"
