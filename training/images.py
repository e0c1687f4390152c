"""From a stored image to the network's input, the one way, in training and serving.

Whatever looks at a part of an image does it through a *window*, an integer tensor
``(top, left, height, width)`` in pixels: the window of a JPEG is decoded without the
rest, then resized to the input's size. Images are uint8 ``(H, W, C)`` until
``normalise``.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Tensor = Any  # tf.Tensor, which ships no type information
Size = tuple[int, int]
FILE_CHANNELS = (1, 3)  # what decode() gives; arrays may have any number
WindowOf = Callable[[Tensor], Tensor]  # (height, width) -> window


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


def decode(data: Tensor, channels: int) -> Tensor:
    """Decodes JPEG, PNG, GIF (its first frame), BMP or WebP bytes to ``(H, W, C)``."""
    if channels == 3:
        return tf.io.decode_image(data, channels=3, expand_animations=False)

    def colour() -> Tensor:
        return tf.image.rgb_to_grayscale(decode(data, 3))

    def grey() -> Tensor:
        return tf.io.decode_image(data, channels=1, expand_animations=False)

    # Only JPEG and PNG can be decoded to one channel.
    png = tf.strings.substr(data, 0, 4) == b"\x89PNG"
    image = tf.cond(tf.io.is_jpeg(data) | png, grey, colour)
    return tf.ensure_shape(image, (None, None, channels))


def decode_window(data: Tensor, window_of: WindowOf, channels: int) -> Tensor:
    """Decodes the window of an encoded image; of a JPEG, only that window.

    Where a JPEG's colour is stored at half resolution, the window's outermost columns
    may differ a little from those of the whole image: libjpeg interpolates colour from
    within the window.
    """

    def jpeg() -> Tensor:
        window = window_of(tf.image.extract_jpeg_shape(data)[:2])
        return tf.image.decode_and_crop_jpeg(data, window, channels=channels)

    def other() -> Tensor:
        image = decode(data, channels)
        return cut(image, window_of(tf.shape(image)[:2]))

    image = tf.cond(tf.io.is_jpeg(data), jpeg, other)
    return tf.ensure_shape(image, (None, None, channels))


def cut(image: Tensor, window: Tensor) -> Tensor:
    """The window of a decoded image."""
    top, left, height, width = tf.unstack(window)
    return image[top : top + height, left : left + width]


def resize(image: Tensor, size: Size) -> Tensor:
    """Resizes ``(H, W, C)`` uint8 by antialiased bilinear interpolation."""
    resized = tf.image.resize(image, size, antialias=True)
    return tf.cast(tf.round(tf.clip_by_value(resized, 0, 255)), tf.uint8)


def normalise(images: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Maps pixels 0–255 to the network's input: per channel (x − mean) / deviation."""
    mean = tf.constant(mean, tf.float32)
    deviation = tf.constant(deviation, tf.float32)
    return (tf.cast(images, tf.float32) - mean) / deviation
