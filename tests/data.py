"""Small images and data sets that several tests make."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from training.data.types import Dataset, pixels


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A colour image without edges, as photographs mostly are."""
    image = Image.fromarray(noise(4, 4, 3, seed=seed))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def encode(
    image: np.ndarray, file_format: str, mode: str | None = None, **options: Any
) -> bytes:
    """An image file, the image converted to one of Pillow's modes first."""
    picture = Image.fromarray(image)
    if mode is not None:
        picture = picture.convert(mode)
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def write_image(path: Path, image: np.ndarray, **options: Any) -> None:
    """Writes a file in the format that its name ends with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)


def write_classes(root: Path, classes: Iterable[str] = "ab", count: int = 2) -> None:
    """Writes a folder for each class with ``count`` PNG images."""
    for number, name in enumerate(classes):
        for i in range(count):
            image = noise(9, 12, 3, seed=100 * number + i)
            write_image(root / name / f"{i}.png", image)


def pixel_dataset(
    count: int, shape: tuple[int, int, int] = (8, 8, 1), mirrors: bool = True
) -> Dataset:
    """Images of noise, each of a class of its own, so that a label names an image."""
    split = pixels(noise(count, *shape), np.arange(count))
    labels = tuple(f"class{i}" for i in range(count))
    return Dataset(
        "noise", {"train": split, "test": split}, labels, shape[2], shape[:2], mirrors
    )


def labels_of(dataset: Dataset, split: str) -> list[int]:
    return dataset.splits[split].labels.numpy().tolist()


def sizes(dataset: Dataset) -> dict[str, int]:
    return {name: len(split) for name, split in dataset.splits.items()}


def gathered(batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels of an epoch."""
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def seeds(count: int) -> tf.data.Dataset:
    """The seeds (0, 7), (1, 7), …"""
    return tf.data.Dataset.range(count).map(
        lambda i: tf.stack([tf.cast(i, tf.int32), 7])
    )


def mapped(function: Callable[[Any], Any], count: int) -> np.ndarray:
    """What ``function`` makes of ``count`` seeds inside ``Dataset.map``."""
    return np.stack(list(seeds(count).map(function).as_numpy_iterator()))
