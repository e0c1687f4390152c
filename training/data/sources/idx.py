"""Loads MNIST-format files such as ``train-images-idx3-ubyte``, also gzipped."""

import gzip
import math
import re
import zlib
from pathlib import Path

import numpy as np

from keras_resnet.errors import UsageError
from training.data.sources import tree
from training.data.sources.names import require_classes
from training.data.types import Dataset, Split, may_be_mirrored, pixels
from training.storage import filesystem

PREFIXES = {"train": "train", "test": "t10k"}
UINT8 = 8  # the element type of images and labels

FASHION_MNIST = (  # Xiao et al., 2017, table 2
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load(argument: str) -> Dataset:
    """Loads ``DIR/{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]``.

    Class names come from ``DIR/labels.txt``, one per line, if it exists.

    Raises:
        UsageError: A file is missing, damaged, or inconsistent with the others.
    """
    folder = tree.root(argument, "idx folder")
    if not filesystem.is_remote(folder):
        folder = str(Path(folder).resolve())
    splits = {name: _split(folder, prefix) for name, prefix in PREFIXES.items()}
    labels = _labels(folder, splits)
    shapes = {split.images.shape[1:] for split in splits.values()}
    if len(shapes) > 1:
        raise UsageError(
            f"images of {folder} must have one size in both splits, got "
            f"{' and '.join(str(tuple(shape)) for shape in shapes)}"
        )
    height, width, channels = shapes.pop()
    return Dataset(
        name="idx",
        splits=splits,
        labels=labels,
        channels=channels,
        size=(height, width),
        mirrors=may_be_mirrored("mnist " + _name(folder)),
    )


def read(path: str) -> np.ndarray:
    """Reads an idx file of bytes from a path or URL; ``.gz`` files are unzipped.

    Raises:
        UsageError: The file is truncated, damaged, or of another format.
    """
    try:
        data = filesystem.read(path)
        data = gzip.decompress(data) if path.endswith(".gz") else data
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"idx file must be readable, got {path}: {error}") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != UINT8:
        raise UsageError(f"{path} must be an idx file of bytes, got {data[:4]!r}")
    axes = data[3]
    header = 4 + 4 * axes
    shape = [int.from_bytes(data[i : i + 4], "big") for i in range(4, header, 4)]
    if len(data) != header + math.prod(shape):
        raise UsageError(
            f"{path} must have the {header + math.prod(shape)} bytes that its header "
            f"specifies, got {len(data)}: it is truncated or damaged"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _name(folder: str) -> str:
    return folder.rpartition("/")[2]


def _split(folder: str, prefix: str) -> Split:
    images = read(_find(folder, f"{prefix}-images-idx3-ubyte"))
    labels = read(_find(folder, f"{prefix}-labels-idx1-ubyte"))
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise UsageError(
            f"{prefix} images (N, H, W) and labels (N,) of {folder} must match, got "
            f"{images.shape} and {labels.shape}"
        )
    if images.size == 0:
        raise UsageError(
            f"{prefix} files of {folder} must have images, got shape {images.shape}"
        )
    return pixels(images[..., np.newaxis], labels)


def _find(folder: str, name: str) -> str:
    for path in (f"{folder}/{name}", f"{folder}/{name}.gz"):
        if filesystem.filesystem(path).isfile(path):
            return path
    raise UsageError(
        f"idx folder must contain {name} or {name}.gz, got neither in {folder}"
    )


def _labels(folder: str, splits: dict[str, Split]) -> tuple[str, ...]:
    """Returns the class names, and checks that they cover the labels in the files."""
    used = {name: np.unique(split.labels.numpy()) for name, split in splits.items()}
    names = f"{folder}/labels.txt"
    if filesystem.filesystem(names).isfile(names):
        labels = _read_names(names)
    else:
        # A gap in the numbers more likely means a damaged file than an unused class.
        classes = len(used["train"])
        gaps = np.flatnonzero(used["train"] != np.arange(classes))
        if len(gaps):
            raise UsageError(
                f"train labels of {folder} must be numbered from 0 without a gap, got "
                f"{used['train'][gaps[0]]} but no {gaps[0]}; if that is correct, list "
                "every class in labels.txt"
            )
        fashion = "fashion" in _name(folder).lower() and classes == len(FASHION_MNIST)
        labels = FASHION_MNIST if fashion else tuple(str(i) for i in range(classes))
        require_classes(labels, folder)
    for name, numbers in used.items():
        if numbers[-1] >= len(labels):
            raise UsageError(
                f"{name} labels of {folder} must be 0 to {len(labels) - 1}, "
                f"got {numbers[-1]}; if that is correct, list every class in labels.txt"
            )
    return labels


def _read_names(path: str) -> tuple[str, ...]:
    """Reads class names, one per line, with any byte-order mark and line ends."""
    try:
        text = filesystem.read(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} must be UTF-8 text, got {error}") from None
    names = tuple(map(str.strip, re.split("\r\n|\r|\n", text.rstrip())))
    require_classes(names, path)
    return names
