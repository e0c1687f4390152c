"""Reads and applies the EXIF orientation of a JPEG in a graph.

``training.data.decoding.exif`` does the same without TensorFlow.
"""

from typing import Any

import tensorflow as tf

from training.data.decoding import binary
from training.data.decoding.exif import TAG, TURNS
from training.data.types import Tensor

EXIF = b"Exif\0\0"
SCAN, END = 0xDA, 0xD9  # markers: start of scan, end of image
MAX_STEPS = 10_000  # segments, and bytes between them
SHORT, LONG = 3, 4  # TIFF types of unsigned numbers


def read_exif_orientation(data: Tensor) -> Tensor:
    """Returns the orientation in a JPEG's bytes, int32; 1 if there is none."""
    # A fast search for the name of EXIF rules out most files without it.
    named = tf.size(tf.strings.split(data, EXIF, maxsplit=1)) > 1
    return tf.cond(named, lambda: _search_exif(data), lambda: tf.constant(1))


def _search_exif(data: Tensor) -> Tensor:
    octets = tf.io.decode_raw(data, tf.uint8)

    def goes_on(position: Tensor, here: Tensor) -> Tensor:
        ends = _is_marker(here) & ((here[1] == SCAN) | (here[1] == END))
        return (position < tf.size(octets, tf.int64)) & ~ends & ~_is_exif(here)

    def step(position: Tensor, here: Tensor) -> tuple[Tensor, Tensor]:
        bare = (here[1] <= 1) | ((here[1] >= 0xD0) & (here[1] <= 0xD8))
        length = tf.maximum(_sum(here[2:4]), 2) * tf.cast(~bare, tf.int64)
        # Any number of bytes of 255 may precede a marker.
        ahead = 1 + (1 + length) * tf.cast(_is_marker(here), tf.int64)
        return position + ahead, _octets(octets, position + ahead, 10)

    start = tf.constant(2, tf.int64)  # after the start-of-image marker
    state = (start, _octets(octets, start, 10))
    position, here = tf.while_loop(goes_on, step, state, maximum_iterations=MAX_STEPS)
    return tf.cond(
        _is_exif(here),
        lambda: _read_tag(octets[position + 10 :]),
        lambda: tf.constant(1),
    )


def stored_window(window: Tensor, shape: Tensor, orientation: Tensor) -> Tensor:
    """Converts a window of the shown image to a window of the stored image.

    Args:
        window: ``(top, left, height, width)`` of the shown image.
        shape: Height and width of the stored image.
        orientation: EXIF orientation, 1 to 8.
    """
    rows, columns, transposed = _turn(orientation)
    window = tf.where(transposed, tf.gather(window, [1, 0, 3, 2]), window)
    top, left, height, width = tf.unstack(window)
    top = tf.where(rows, shape[0] - top - height, top)
    left = tf.where(columns, shape[1] - left - width, left)
    return tf.stack([top, left, height, width])


def shown_shape(shape: Tensor, orientation: Tensor) -> Tensor:
    """Returns the shown height and width for a stored ``shape``."""
    return tf.where(_turn(orientation)[2], shape[::-1], shape)


def apply_orientation(image: Tensor, orientation: Tensor) -> Tensor:
    """Turns a stored image ``(H, W, C)`` upright, as it is shown."""
    rows, columns, transposed = _turn(orientation)
    image = tf.cond(rows, lambda: image[::-1], lambda: image)
    image = tf.cond(columns, lambda: image[:, ::-1], lambda: image)
    return tf.cond(
        transposed, lambda: tf.transpose(image, (1, 0, 2)), lambda: tf.identity(image)
    )


def _turn(orientation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    turns = [(t.rows, t.columns, t.transposed) for t in TURNS.values()]
    return tuple(tf.unstack(tf.gather(tf.constant(turns), orientation - 1)))


def _is_marker(here: Tensor) -> Tensor:
    return (here[0] == 255) & (here[1] != 255)


def _is_exif(here: Tensor) -> Tensor:
    """Returns whether the ten bytes start an EXIF segment."""
    begins = (here[0] == 255) & (here[1] == 0xE1)
    return begins & tf.reduce_all(here[4:10] == list(EXIF))


def _read_tag(tiff: Tensor) -> Tensor:
    """Reads the orientation from the first directory of TIFF data; 1 if none."""
    little = binary.starts(_octets(tiff, 0, 2), b"II")

    def number(start: Any, size: int) -> Tensor:
        octets = _octets(tiff, start, size)
        return _sum(tf.where(little, octets[::-1], octets))

    start = number(4, 4) + 2
    entries = tiff[start : start + 12 * number(start - 2, 2)]
    entries = tf.cast(entries[: tf.size(entries) // 12 * 12], tf.int64)
    entries = tf.reshape(entries, (-1, 12))

    def column(first: int, size: int) -> Tensor:
        octets = entries[:, first : first + size]
        return _sum(tf.where(little, octets[:, ::-1], octets))

    kind = column(2, 2)
    value = tf.where(kind == LONG, column(8, 4), column(8, 2))
    known = (value >= 1) & (value <= len(TURNS)) & ((kind == SHORT) | (kind == LONG))
    found = tf.boolean_mask(value, (column(0, 2) == TAG) & known)
    return tf.cast(tf.concat([found, [1]], 0)[0], tf.int32)


def _octets(octets: Tensor, start: Any, size: int) -> Tensor:
    """Returns ``size`` bytes as int64, padded with zeros."""
    found = tf.cast(octets[start : start + size], tf.int64)
    return tf.ensure_shape(tf.pad(found, [[0, size - tf.size(found)]]), (size,))


def _sum(octets: Tensor) -> Tensor:
    """Returns the big-endian number of the bytes along the last axis."""
    size = octets.shape[-1]
    return tf.reduce_sum(octets * [256 ** (size - 1 - i) for i in range(size)], -1)
