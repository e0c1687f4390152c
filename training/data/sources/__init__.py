"""Loads data sets by name; each kind of source has its own module."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from keras_resnet.errors import UsageError, first_few, require_text, suggest
from training.data.identity import absolute
from training.data.reading import ReadOptions
from training.data.sources import folder, idx, memory, tfds
from training.data.splits import hold_out, with_test
from training.data.types import Dataset
from training.storage.filesystem import is_remote


@dataclass(frozen=True)
class Source:
    """A kind of data.

    Attributes:
        load: Returns the data set of an argument, what follows the colon of its name.
        usage: How the command line names it.
        reads_files: Whether ``load`` takes ``ReadOptions`` too, because the images stay
            in their files; others are in memory.
    """

    load: Callable[..., Dataset]
    usage: str
    reads_files: bool = False


SOURCES = {
    "digits": Source(memory.digits, "digits"),
    "tfds": Source(tfds.load, "tfds:NAME", reads_files=True),
    "idx": Source(idx.load, "idx:DIR"),
    "folder": Source(folder.load, "folder:DIR", reads_files=True),
    "synthetic": Source(memory.synthetic, "synthetic:HxWxC:CLASSES:N"),
}


def load_dataset(
    name: str, *, validation: float = 0.0, reading: ReadOptions | None = None
) -> Dataset:
    """Loads a data set, with training and test splits, by its command-line name.

    Args:
        name: A key of ``SOURCES``, and its argument after a colon.
        validation: Fraction of the training images to hold out as the split ``"val"``
            if the data has none, 0 to 0.9.
        reading: Options for reading files; None: the defaults.

    Raises:
        UsageError: The data set is unknown, missing or damaged.
    """
    dataset = load_splits(name, reading or ReadOptions())
    return _note_missing_classes(hold_out(with_test(dataset), "val", validation))


def _note_missing_classes(dataset: Dataset) -> Dataset:
    """Adds notes on training classes that have no image in another split."""
    classes = {n: np.unique(split.labels) for n, split in dataset.splits.items()}
    notes = []
    for name in dataset.splits:
        absent = np.setdiff1d(classes["train"], classes[name])
        if len(absent):
            labels = [dataset.labels[number] for number in absent]
            notes.append(f"{name} split: no image of {first_few(labels)}")
    return replace(dataset, notes=(*dataset.notes, *notes))


def load_splits(name: str, reading: ReadOptions) -> Dataset:
    """Loads a data set as ``load_dataset`` does, with its original splits."""
    kind, _, argument = name.partition(":")
    if kind not in SOURCES:
        *usages, last = (source.usage for source in SOURCES.values())
        hint = suggest(kind, SOURCES)
        if os.path.isdir(name):
            hint = f"for a folder of images, write folder:{name}"
        said = f"dataset must be {', '.join(usages)} or {last}, got {name!r}; {hint}"
        raise UsageError(said.strip("; "))
    require_text("path of a data set", absolute(name))
    source = SOURCES[kind]
    if source.reads_files:
        if reading.cache == "decoded":
            local = kind == "folder" and not is_remote(argument)
            reading = replace(reading, cache="none" if local else "disk")
        return replace(source.load(argument, reading), name=name)
    dataset = source.load(argument)
    if reading.cache != "none":
        note = f"--cache {reading.cache} has no effect: {kind} is in memory"
        dataset = replace(dataset, notes=(*dataset.notes, note))
    return replace(dataset, name=name)
