"""One example of a split, in a graph: from what is stored to the input's pixels."""

from functools import partial

import tensorflow as tf

from training.data.decoding import images
from training.data.decoding.images import Known
from training.data.types import Split, Tensor, fingerprint, read_encoded

CHANGED = "it has other contents"


def read_window(
    split: Split,
    index: Tensor,
    shape: tuple[int, int, int],
    window_of: images.WindowOf | None,
    *,
    quickly: bool = False,
) -> Tensor:
    """Reads a window of one image (None: the whole) at the input's size, uint8.

    Args:
        split: Has the image.
        index: Of the image in the split.
        shape: Height, width and channels to return.
        window_of: Gives the window, of the image's height and width.
        quickly: A JPEG is decoded by a fast transform, at a fraction of its size where
            the window then still has the input's, and ``images.resize_quickly``
            resizes: good enough for training, but not what an exported network does.
    """
    stored = split.images[index]
    *_, channels = shape
    size = shape[:2]
    if split.kind == "pixels" and window_of is None and stored.shape[:2] == size:
        return stored
    window_of = window_of or partial(images.centre_window, size=size, crop=1.0)
    if split.kind == "pixels":
        image = images.cut(stored, window_of(stored.shape[:2]))
    else:
        image = images.decode_window(
            _contents(split, index),
            window_of,
            channels,
            known=_known(split, index),
            at_least=size if quickly else None,
        )
    resize = images.resize_quickly if quickly else images.resize
    return tf.ensure_shape(resize(image, size), shape)


def _contents(split: Split, index: Tensor) -> Tensor:
    """Reads an encoded image, which must be the one that was checked."""
    data = read_encoded(split.images[index], split.kind)
    if split.kind == "bytes" or split.facts is None:
        return data
    same = fingerprint(data) == split.facts.fingerprints[index]
    said = [CHANGED, split.images[index]]  # where a copy is read, the copy
    with tf.control_dependencies([tf.debugging.Assert(same, said)]):
        return tf.identity(data)


def _known(split: Split, index: Tensor) -> Known:
    """What decoding need not find out, each of it a tenth of its time.

    Args:
        split: Of encoded images.
        index: Of the image.
    """
    facts = split.facts
    if facts is None:
        return Known()
    return Known(
        is_jpeg=facts.jpegs or None,
        orientation=1 if facts.upright else facts.orientations[index],
        cmyk=None if facts.cmyk else False,
        largest=facts.largest,
    )
