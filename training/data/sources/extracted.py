"""The images of a prepared data set, encoded as they are: in memory, or as files."""

import hashlib
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from training.data.sources import cache
from training.data.sources.inspection import Stored
from training.writing import write_atomically, written_to

Keys = tuple[str, str]  # the names of the image and of the label feature
Examples = tuple[list[Stored], list[int]]


def contents(builder: Any, split: str, keys: Keys) -> Examples:
    """Returns the images' contents, and their labels."""
    images, labels = zip(*_examples(builder, split, keys), strict=True)
    return list(images), list(labels)


def files(builder: Any, split: str, keys: Keys) -> Examples:
    """Returns the paths of files of the images' contents, and their labels.

    Files are written once; ``labels.json``, written last, says that they all are there.

    Raises:
        UsageError: The disk has no room for them.
    """
    folder = _folder(builder, split)
    complete = folder / "labels.json"
    if not complete.is_file():
        cache.require_disk(builder.info.splits[split].num_bytes)
        with written_to(folder):
            folder.mkdir(parents=True, exist_ok=True)
            labels = []
            for number, (image, label) in enumerate(_examples(builder, split, keys)):
                path = _path(folder, number)
                path.parent.mkdir(exist_ok=True)
                # Another process may be writing it, or reading it already.
                write_atomically(
                    path, partial(Path.write_bytes, data=image), synced=False
                )
                labels.append(label)
            os.sync()  # once for all of them
            text = json.dumps(labels)
            write_atomically(complete, lambda path: path.write_text(text, "utf-8"))
    labels = json.loads(complete.read_text("utf-8"))
    return [str(_path(folder, number)) for number in range(len(labels))], labels


def _examples(builder: Any, split: str, keys: Keys) -> Iterator[tuple[bytes, int]]:
    """Yields images and labels in the order in which they are stored."""
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
    """A folder of this data set's own, of its files as they now are."""
    info = builder.info.splits[split]
    lengths = list(map(int, info.shard_lengths))
    state = json.dumps([str(builder.data_dir), split, info.num_bytes, lengths])
    return cache.folder() / "tfds" / hashlib.sha256(state.encode()).hexdigest()


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number // 1000:06}" / f"{number % 1000:03}"
