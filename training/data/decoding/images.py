"""From a stored image to the network's input, the one way, in training and serving.

Whatever looks at a part of an image does it through a *window*, an integer tensor
``(top, left, height, width)`` in pixels: the window of a JPEG is decoded without the
rest, then resized to the input's size. Images are uint8 ``(H, W, C)`` until
``normalise``.
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

JPEG_RATIOS = (1, 2, 4, 8)  # at which libjpeg decodes by itself
FILE_CHANNELS = (1, 3)  # what decoding gives; arrays may have any number
WindowOf = Callable[[Tensor], Tensor]  # (height, width) -> window


@dataclass(frozen=True)
class Known:
    """What is known of an encoded image, so that decoding it need not find it out.

    Attributes:
        is_jpeg: Whether it is one; None: the bytes say so.
        orientation: EXIF's, of a JPEG; None: it is read from the bytes.
        cmyk: False: it is no JPEG of CMYK; None: the bytes say so.
        largest: It is not higher or wider; None: any size.
    """

    is_jpeg: bool | None = None
    orientation: Tensor | None = None
    cmyk: Literal[False] | None = None
    largest: Size | None = None


def centre_window(shape: Tensor, size: Size, crop: float) -> Tensor:
    """The largest centred window of the aspect of ``size``, scaled by ``crop``.

    Args:
        shape: Height and width of the image, int32.
        size: Height and width to resize to.
        crop: Share of the window's sides to keep, 0 to 1; 0.875 is 224 of 256.
    """
    sides = tf.cast(shape, tf.float32)
    wanted = tf.constant(size, tf.float32)
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
    """Decodes the window of an encoded image; of a JPEG, only that window, upright.

    Where a JPEG's colour is stored at half resolution, the window's outermost columns
    may differ a little from those of the whole image: libjpeg interpolates colour from
    within the window.

    Args:
        data: The bytes of an image file.
        window_of: Gives the window, of the image's height and width as it is shown.
        channels: 1 or 3.
        known: What need not be found out.
        at_least: Decode a JPEG quickly, and at a half, a quarter or an eighth of its
            size where the window then still has this height and width; None: exactly,
            at its own size.
    """
    reducible = known.largest is None or (
        at_least and min(np.array(known.largest) / at_least) >= JPEG_RATIOS[1]
    )

    def jpeg() -> Tensor:
        stored = tf.image.extract_jpeg_shape(data)
        shape = stored[:2]
        turn = (
            read_exif_orientation(data)
            if known.orientation is None
            else known.orientation
        )
        decoded = partial(
            decode_jpeg,
            data,
            channels,
            cmyk=stored[2] == CMYK if known.cmyk is None else known.cmyk,
            exactly=at_least is None,
        )
        if isinstance(turn, int) and turn == 1:
            return _reduced(decoded, window_of(shape), at_least if reducible else None)
        window = stored_window(window_of(shown_shape(shape, turn)), shape, turn)
        least = None
        if at_least and reducible:
            least = shown_shape(tf.constant(at_least), turn)
        return apply_orientation(_reduced(decoded, window, least), turn)

    def other() -> Tensor:
        image = decode_other(data, channels)
        return cut(image, window_of(tf.shape(image)[:2]))

    if known.is_jpeg is None:
        image = tf.cond(tf.io.is_jpeg(data), jpeg, other)
    else:
        image = jpeg() if known.is_jpeg else other()
    return tf.ensure_shape(image, (None, None, channels))


def _reduced(
    decode: Callable[..., Tensor], window: Tensor, at_least: Tensor | None
) -> Tensor:
    """Decodes a JPEG's window, at a fraction of its size if it may be."""

    def decoded(ratio: int) -> Tensor:
        return decode(window=tf.convert_to_tensor(window) // ratio, ratio=ratio)

    if at_least is None:
        return decoded(1)
    times = tf.reduce_min(window[2:] // at_least)
    larger = tf.reduce_sum(tf.cast(times >= JPEG_RATIOS[1:], tf.int32))
    return tf.switch_case(larger, [partial(decoded, ratio) for ratio in JPEG_RATIOS])


def cut(image: Tensor, window: Tensor) -> Tensor:
    """The window of a decoded image."""
    top, left, height, width = tf.unstack(window)
    return image[top : top + height, left : left + width]


def resize(image: Tensor, size: Size) -> Tensor:
    """Resizes ``(H, W, C)`` uint8 by antialiased bilinear interpolation."""
    resized = tf.image.resize(image, size, antialias=True)
    return tf.cast(tf.round(tf.clip_by_value(resized, 0, 255)), tf.uint8)


def resize_quickly(image: Tensor, size: Size) -> Tensor:
    """Resizes as ``resize`` does, in a fifth of the time, a little less smoothly.

    Plain bilinear interpolation, which leaves no pixel of the image out where it has
    less than four for one; antialiased where it has more.
    """

    def plainly() -> Tensor:
        # In float at once: the kernel for bytes takes longer than cast and kernel.
        resized = tf.raw_ops.ResizeBilinear(
            images=tf.cast(image, tf.float32)[tf.newaxis],
            size=size,
            half_pixel_centers=True,
        )
        return tf.cast(resized[0] + 0.5, tf.uint8)

    few = tf.reduce_prod(tf.shape(image)[:2]) < 4 * size[0] * size[1]
    return tf.cond(few, plainly, lambda: resize(image, size))


def normalise(images: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Maps pixels 0–255 to the network's input: per channel (x − mean) / deviation."""
    mean = tf.constant(mean, tf.float32)
    deviation = tf.constant(deviation, tf.float32)
    return (tf.cast(images, tf.float32) - mean) / deviation
