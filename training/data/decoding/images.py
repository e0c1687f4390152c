"""Decodes, crops, resizes and normalises images, in training and serving alike.

A part of an image is given by a *window*, an integer tensor ``(top, left, height,
width)`` in pixels. Of a JPEG, only the window is decoded, and then resized to the size
of the network's input. Images are uint8 ``(H, W, C)`` until ``normalise``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import tensorflow as tf

from training.data.decoding.graph import CMYK, decode_jpeg, decode_other
from training.data.decoding.orientation import (
    apply_orientation,
    read_exif_orientation,
    shown_shape,
    stored_window,
)
from training.data.types import Size, Tensor

JPEG_RATIOS = (1, 2, 4, 8)  # reductions that libjpeg supports
FILE_CHANNELS = (1, 3)  # of decoded files; arrays may have any number
WindowOf = Callable[[Tensor], Tensor]  # (height, width) -> window


@dataclass(frozen=True)
class Known:
    """Facts about an encoded image that save work during decoding.

    Attributes:
        is_jpeg: Whether it is a JPEG; None: determined from the bytes.
        orientation: EXIF orientation of a JPEG; None: read from the bytes.
        cmyk: False: it is not a CMYK JPEG; None: determined from the bytes.
        largest: Upper bounds of height and width; None: any size.
    """

    is_jpeg: bool | None = None
    orientation: Tensor | None = None
    cmyk: Literal[False] | None = None
    largest: Size | None = None


def centre_window(shape: Tensor, size: Size, crop: float) -> Tensor:
    """Returns the largest centred window with the aspect of ``size``, times ``crop``.

    Args:
        shape: Height and width of the image, int32.
        size: Height and width to resize to.
        crop: Fraction of the window's sides to keep, 0 to 1; 0.875 is 224 of 256.
    """
    sides = tf.cast(shape, tf.float32)
    wanted = tf.cast(size, tf.float32)
    extent = tf.round(crop * tf.reduce_min(sides / wanted) * wanted)
    extent = tf.clip_by_value(tf.cast(extent, tf.int32), 1, shape)
    return tf.concat([(shape - extent) // 2, extent], 0)


def decode_window(
    data: Tensor,
    window_of: WindowOf,
    channels: int,
    *,
    known: Known = Known(),
    at_least: Size | None = None,
) -> Tensor:
    """Decodes a window of an image file, upright; of a JPEG, decodes only the window.

    If a JPEG stores colour at half resolution, the outermost columns of the window may
    differ slightly from those of the whole image, because libjpeg interpolates colour
    within the window.

    Args:
        data: The bytes of an image file, a scalar string.
        window_of: Maps height and width of the image as shown to the window.
        channels: 1 or 3.
        known: Known facts about the image.
        at_least: Decode a JPEG quickly, reduced to 1/2, 1/4 or 1/8 if the window keeps
            at least this height and width; None: decode exactly, at full size.
    """

    def jpeg() -> Tensor:
        return _decode_jpeg_window(
            data, window_of, channels, known=known, at_least=at_least
        )

    def other() -> Tensor:
        image = decode_other(data, channels)
        return crop_to_window(image, window_of(tf.shape(image)[:2]))

    if known.is_jpeg is None:
        image = tf.cond(tf.io.is_jpeg(data), jpeg, other)
    else:
        image = jpeg() if known.is_jpeg else other()
    return tf.ensure_shape(image, (None, None, channels))


def _decode_jpeg_window(
    data: Tensor,
    window_of: WindowOf,
    channels: int,
    *,
    known: Known,
    at_least: Size | None,
) -> Tensor:
    """Decodes a JPEG's window as ``decode_window`` does."""
    stored = tf.image.extract_jpeg_shape(data)
    decode = partial(
        decode_jpeg,
        data,
        channels,
        cmyk=stored[2] == CMYK if known.cmyk is None else known.cmyk,
        exactly=at_least is None,
    )
    if not _is_reducible(known, at_least):
        at_least = None
    shape, turn = stored[:2], known.orientation
    if turn is None:
        turn = read_exif_orientation(data)
    elif isinstance(turn, int) and turn == 1:
        return _decode_reduced(decode, window_of(shape), at_least)
    window = stored_window(window_of(shown_shape(shape, turn)), shape, turn)
    least = None if at_least is None else shown_shape(tf.constant(at_least), turn)
    return apply_orientation(_decode_reduced(decode, window, least), turn)


def _is_reducible(known: Known, at_least: Size | None) -> bool:
    """Returns whether some images may be large enough to be decoded reduced."""
    if at_least is None or known.largest is None:
        return at_least is not None
    return bool(min(np.array(known.largest) / at_least) >= JPEG_RATIOS[1])


def _decode_reduced(
    decode: Callable[..., Tensor], window: Tensor, at_least: Tensor | None
) -> Tensor:
    """Decodes a window of a JPEG, reduced if ``at_least`` allows it."""

    def decoded(ratio: int) -> Tensor:
        return decode(window=tf.convert_to_tensor(window) // ratio, ratio=ratio)

    if at_least is None:
        return decoded(1)
    times = tf.reduce_min(window[2:] // at_least)
    larger = tf.reduce_sum(tf.cast(times >= JPEG_RATIOS[1:], tf.int32))
    return tf.switch_case(larger, [partial(decoded, ratio) for ratio in JPEG_RATIOS])


def crop_to_window(image: Tensor, window: Tensor) -> Tensor:
    """Returns the window of a decoded image."""
    top, left, height, width = tf.unstack(window)
    return image[top : top + height, left : left + width]


def resize(image: Tensor, size: Size) -> Tensor:
    """Resizes uint8 ``(H, W, C)`` by antialiased bilinear interpolation."""
    resized = tf.image.resize(image, size, antialias=True)
    return tf.cast(tf.round(tf.clip_by_value(resized, 0, 255)), tf.uint8)


def resize_quickly(image: Tensor, size: Size) -> Tensor:
    """Resizes like ``resize``, in a fifth of the time and slightly less smoothly.

    Uses plain bilinear interpolation, which omits no pixels if the image has fewer
    than four per output pixel; antialiases larger images.
    """

    def plainly() -> Tensor:
        # The uint8 kernel takes longer than a cast plus the float kernel.
        resized = tf.raw_ops.ResizeBilinear(
            images=tf.cast(image, tf.float32)[tf.newaxis],
            size=size,
            half_pixel_centers=True,
        )
        return tf.cast(resized[0] + 0.5, tf.uint8)

    few = tf.reduce_prod(tf.shape(image)[:2]) < 4 * size[0] * size[1]
    return tf.cond(few, plainly, lambda: resize(image, size))
