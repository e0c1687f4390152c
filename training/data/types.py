"""Defines data sets and their splits, with images as arrays, bytes or files."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from keras_resnet.errors import UsageError
from training.storage import filesystem

Tensor = Any  # tf.Tensor, which ships no type information
Size = tuple[int, int]  # height and width, in pixels
Share = tuple[int, int]  # (i, n): part i of the n parts of every batch
WHOLE: Share = (0, 1)

# Data sets of characters; mirrored characters have another meaning or none.
CHARACTERS = ("digits", "mnist", "svhn", "omniglot", "cmaterdb", "binary_alpha")

NO_HASH = bytes(32)  # of an image that takes the place of a skipped file


@dataclass(frozen=True)
class ImageInfo:
    """Facts about encoded images that save work when they are read.

    Attributes:
        orientations: EXIF orientations, int32 ``(N,)``.
        upright: Whether all orientations are 1.
        jpegs: Whether all images are JPEGs.
        cmyk: Whether some images are CMYK JPEGs.
        largest: Greatest height and greatest width of the images as shown.
        sizes: Height and width of each image as shown, int32 ``(N, 2)``.
        fingerprints: Fingerprints of the contents, int64 ``(N,)``.
    """

    orientations: Tensor
    upright: bool
    jpegs: bool
    cmyk: bool
    largest: Size
    sizes: Tensor
    fingerprints: Tensor


@dataclass(frozen=True)
class Split:
    """Images and labels of one split.

    Attributes:
        kind: What ``images`` holds: ``"pixels"``, uint8 ``(N, H, W, C)``; ``"bytes"``,
            encoded images, string ``(N,)``; ``"files"``, their paths, string ``(N,)``;
            ``"remote"``, their URLs, string ``(N,)``; ``"decoded"``, paths of files
            that begin with the pixels of one image, string ``(N,)``.
        images: The images, as one tensor.
        labels: Class numbers, int64 ``(N,)``.
        facts: Facts about encoded images; None: unknown.
        origins: Places of the user's files, string ``(N,)``; None: the images do not
            come from such files.
        hashes: SHA-256 of each image's contents, uint8 ``(N, 32)``; None: the pixels
            do not come from files.
    """

    kind: Literal["pixels", "bytes", "files", "remote", "decoded"]
    images: Tensor
    labels: Tensor
    facts: ImageInfo | None = None
    origins: Tensor | None = None
    hashes: np.ndarray | None = None

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    @cached_property
    def good(self) -> np.ndarray:
        """Indices of the images that do not take the place of skipped files."""
        if self.hashes is None:
            return np.arange(len(self))
        return np.flatnonzero(self.hashes.any(-1))

    def take(self, indices: np.ndarray) -> "Split":
        """Returns a split of the examples at ``indices``, in that order."""
        with tf.device("CPU"):
            images, labels = (tf.gather(x, indices) for x in (self.images, self.labels))
            facts = self.facts
            if facts is not None:
                each = ("orientations", "sizes", "fingerprints")
                taken = {n: tf.gather(getattr(facts, n), indices) for n in each}
                facts = replace(facts, **taken)
            origins = self.origins
            if origins is not None:
                origins = tf.gather(origins, indices)
        hashes = None if self.hashes is None else self.hashes[indices]
        return Split(self.kind, images, labels, facts, origins, hashes)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of images and labels in order, in hexadecimal.

        It does not depend on where the images are stored.
        """
        found = hashlib.sha256(self.labels.numpy().astype("<i8"))
        if self.hashes is not None:
            found.update(self.hashes.tobytes())
        elif self.kind == "pixels":
            found.update(str(tuple(self.images.shape)).encode())
            found.update(np.ascontiguousarray(self.images.numpy()).data)
        else:
            for index in range(len(self)):
                found.update(hashlib.sha256(self.encoded(index)).digest())
        return found.hexdigest()

    def encoded(self, index: int) -> bytes:
        """Returns one image as the bytes of a file; pixels become a PNG."""
        image = self.images[index]
        if self.kind == "pixels":
            image = tf.io.encode_png(image)
        return bytes(read_encoded(image, self.kind).numpy())


def read_encoded(stored: Tensor, kind: str) -> Tensor:
    """Reads the bytes of an image of any kind except pixels, also in a graph."""
    if kind in ("files", "decoded"):
        return tf.io.read_file(stored)
    if kind == "remote":
        data = tf.numpy_function(_fetch, [stored], tf.string, stateful=False)
        return tf.ensure_shape(data, ())
    return stored


def fingerprint(data: Tensor) -> Tensor:
    """Returns a fast, int64 hash of an encoded image's contents, also in a graph.

    It detects changed files, but is not secure against deliberate collisions.
    """
    return tf.strings.to_hash_bucket_fast(data, 2**63 - 1)


def _fetch(url: Any) -> bytes:
    # TensorFlow passes bytes in a graph, but an array in eager mode.
    place = np.asarray(url).item().decode()
    try:
        return filesystem.read(place)
    except OSError as error:  # in the form of TensorFlow's error for a path
        raise OSError(f"{place}; {filesystem.reason(error)}") from None


@dataclass(frozen=True)
class Dataset:
    """A data set in memory, or on disk with one file per image.

    Attributes:
        name: Name as the user wrote it.
        splits: ``"train"``, ``"test"`` and, if present, ``"val"``.
        labels: Names of the classes.
        channels: 1 or 3 (any number for pixels).
        size: Height and width that all images share; None: they differ.
        mirrors: Whether a mirrored image keeps its class.
        notes: Messages for the user about findings and decisions during loading.
    """

    name: str
    splits: dict[str, Split]
    labels: tuple[str, ...]
    channels: int
    size: Size | None
    mirrors: bool
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> dict[str, str]:
        """The ``Split.digest`` of each split."""
        return {name: split.digest for name, split in self.splits.items()}

    def split(self, name: str) -> Split:
        """Returns the split called ``name``.

        Raises:
            UsageError: The data set has no such split.
        """
        if name not in self.splits:
            raise UsageError(
                f"split must be one of {', '.join(self.splits)} in {self.name}, got "
                f"{name!r}"
            )
        return self.splits[name]


def pixels(images: np.ndarray, labels: np.ndarray) -> Split:
    """Returns a split of decoded images, uint8 ``(N, H, W, C)``."""
    with tf.device("CPU"):
        return Split("pixels", tf.constant(images), tf.constant(labels, tf.int64))


def strings(
    images: Sequence[bytes | str],
    labels: object,
    facts: ImageInfo | None = None,
    origins: Sequence[str] | None = None,
    hashes: Sequence[bytes] | None = None,
) -> Split:
    """Returns a split of encoded images, or of the places of image files.

    Args:
        images: Contents, paths or URLs, all of one kind.
        labels: Class numbers.
        facts: Facts about the images; None: unknown.
        origins: Places of the user's files.
        hashes: SHA-256 of each image's contents.
    """
    first = images[0]
    kind: Literal["bytes", "files", "remote"] = "bytes"
    if isinstance(first, str):
        kind = "remote" if filesystem.is_remote(first) else "files"
    with tf.device("CPU"):
        stored = tf.constant(list(images))
        places = None if origins is None else tf.constant(list(origins))
        numbers = tf.constant(labels, tf.int64)
    rows = None
    if hashes is not None:
        rows = np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)
    return Split(kind, stored, numbers, facts, places, rows)


def may_be_mirrored(name: str) -> bool:
    """Returns whether mirroring keeps the classes of the data set ``name``."""
    name = name.lower().replace("-", "_")
    return "fashion" in name or not any(word in name for word in CHARACTERS)


def without_stand_ins(dataset: Dataset) -> Dataset:
    """Returns a data set without the images that take the place of skipped files."""
    splits = {
        name: split if len(split.good) == len(split) else split.take(split.good)
        for name, split in dataset.splits.items()
    }
    return replace(dataset, splits=splits)
