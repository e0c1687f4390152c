"""Reads one example of a split in a graph, as pixels of the input's size."""

from functools import partial
from typing import Any

import tensorflow as tf

from training.data.decoding import images
from training.data.decoding.images import Known
from training.data.types import Split, Tensor, fingerprint, read_encoded

CHANGED = "its contents have changed"


def read_window(
    split: Split,
    index: Tensor,
    shape: tuple[Any, Any, int],
    window_of: images.WindowOf | None,
    *,
    quickly: bool = False,
) -> Tensor:
    """Reads a window of one image and resizes it to the input's size, uint8.

    Args:
        split: The split that has the image.
        index: Index of the image in the split.
        shape: Height, width and channels to return; height and width may be tensors.
        window_of: Maps the image's height and width to the window; None: whole image.
        quickly: Use a fast JPEG transform, at a reduced scale if the window stays at
            least as large as the input, and ``images.resize_quickly``. This is good
            enough for training, but differs from an exported model's preprocessing.
    """
    stored = split.images[index]
    *_, channels = shape
    size = shape[:2]
    if split.kind == "pixels" and window_of is None and stored.shape[:2] == size:
        return stored
    window_of = window_of or partial(images.centre_window, size=size, crop=1.0)
    if split.kind == "pixels":
        image = images.crop_to_window(stored, window_of(stored.shape[:2]))
    elif split.kind == "decoded":
        whole = _decoded(split, index, channels)
        image = images.crop_to_window(whole, window_of(tf.shape(whole)[:2]))
    else:
        image = images.decode_window(
            _contents(split, index),
            window_of,
            channels,
            known=_known(split, index),
            at_least=size if quickly else None,
        )
    resize = images.resize_quickly if quickly else images.resize
    return tf.reshape(resize(image, size), shape)


def _decoded(split: Split, index: Tensor, channels: int) -> Tensor:
    """Reads the pixels with which a file of a split of kind ``"decoded"`` begins."""
    assert split.facts is not None
    height, width = tf.unstack(split.facts.sizes[index])
    octets = tf.io.decode_raw(_contents(split, index), tf.uint8)
    pixels = octets[: height * width * channels]
    return tf.reshape(pixels, (height, width, channels))


def _contents(split: Split, index: Tensor) -> Tensor:
    """Reads an encoded image and asserts that it has not changed since its check."""
    data = read_encoded(split.images[index], split.kind)
    if split.kind == "bytes" or split.facts is None:
        return data
    same = fingerprint(data) == split.facts.fingerprints[index]
    message = [CHANGED, split.images[index]]  # of a cached image, the copy's path
    with tf.control_dependencies([tf.debugging.Assert(same, message)]):
        return tf.identity(data)


def _known(split: Split, index: Tensor) -> Known:
    """Returns known facts; each saves a tenth of the decoding time."""
    facts = split.facts
    if facts is None:
        return Known()
    return Known(
        is_jpeg=facts.jpegs or None,
        orientation=1 if facts.upright else facts.orientations[index],
        cmyk=None if facts.cmyk else False,
        largest=facts.largest,
    )
