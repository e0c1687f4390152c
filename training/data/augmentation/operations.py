"""Defines the image operations of the augmentation policies, equivalent to Pillow's.

Args of every operation: ``image``, uint8 ``(H, W, C)``; ``amount``, a float scalar; and
``fill``, the colour ``(C,)`` of pixels that a geometric operation uncovers, 0–255.
Each returns an image of the same shape and dtype.
"""

from collections.abc import Callable

import tensorflow as tf

from training.data.types import Tensor

Operation = Callable[[Tensor, Tensor, Tensor], Tensor]

GREY = (0.299, 0.587, 0.114)  # ITU-R 601-2, Pillow's conversion to "L"


def identity(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Returns the image unchanged."""
    return image


def shear_x(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Moves row y by ``amount``·y pixels to the left."""
    return _warp(image, (1, amount, 0, 0, 1, 0), fill)


def shear_y(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Moves column x by ``amount``·x pixels up."""
    return _warp(image, (1, 0, 0, amount, 1, 0), fill)


def translate_x(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Moves the image to the left by the fraction ``amount`` of its width."""
    return shift_x(image, amount * image.shape[1], fill)


def translate_y(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Moves the image up by the fraction ``amount`` of its height."""
    return shift_y(image, amount * image.shape[0], fill)


def shift_x(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Moves the image ``amount`` pixels to the left."""
    return _warp(image, (1, 0, amount, 0, 1, 0), fill)


def shift_y(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Moves the image ``amount`` pixels up."""
    return _warp(image, (1, 0, 0, 0, 1, amount), fill)


def rotate(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Rotates the image about its centre by ``amount`` degrees, anticlockwise."""
    angle = amount * 3.141592653589793 / 180
    sine, cosine = tf.sin(angle), tf.cos(angle)
    x, y = (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2
    rows = (cosine, -sine, x - cosine * x + sine * y)
    columns = (sine, cosine, y - sine * x - cosine * y)
    return _warp(image, (*rows, *columns), fill)


def brightness(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Scales the brightness: −1 gives black, 0 the image, 1 twice the brightness."""
    return _blend(tf.zeros_like(image), image, amount)


def color(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Scales the colour by 1 + ``amount``; images without 3 channels stay unchanged."""
    if image.shape[-1] != 3:
        return image
    return _blend(_grey(image), image, amount)


def contrast(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Scales the difference from the grey image's mean by 1 + ``amount``."""
    mean = tf.round(tf.reduce_mean(_grey(image)))
    return _blend(mean, image, amount)


def sharpness(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Scales the difference from Pillow's 3×3 smoothing, except at the border."""
    kernel = tf.constant([[1, 1, 1], [1, 5, 1], [1, 1, 1]], tf.float32) / 13
    kernel = tf.tile(kernel[..., None, None], (1, 1, image.shape[-1], 1))
    pixels = tf.cast(image, tf.float32)
    smooth = tf.nn.depthwise_conv2d(pixels[None], kernel, (1, 1, 1, 1), "VALID")[0]
    inner = tf.pad(tf.ones_like(smooth), ((1, 1), (1, 1), (0, 0))) > 0
    smooth = tf.pad(smooth, ((1, 1), (1, 1), (0, 0)))
    return _blend(tf.where(inner, tf.round(smooth), pixels), image, amount)


def posterize(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Keeps the ``amount`` highest bits of each value."""
    step = tf.cast(tf.pow(2.0, 8 - tf.round(amount)), tf.int32)
    pixels = tf.cast(image, tf.int32)
    return tf.cast(pixels - pixels % step, tf.uint8)


def solarize(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Inverts values of at least ``amount``."""
    return tf.where(tf.cast(image, tf.float32) >= amount, 255 - image, image)


def solarize_add(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Adds ``amount`` to values below 128."""
    added = tf.minimum(tf.cast(image, tf.int32) + tf.cast(amount, tf.int32), 255)
    return tf.where(image < 128, tf.cast(added, tf.uint8), image)


def invert(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Returns the negative."""
    return 255 - image


def autocontrast(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Stretches each channel to 0–255."""
    pixels = tf.cast(image, tf.float32)
    low = tf.reduce_min(pixels, (0, 1))
    span = tf.reduce_max(pixels, (0, 1)) - low
    # Rounding errors may put a value that Pillow truncates just below an integer.
    stretched = tf.floor((pixels - low) * 255 / tf.maximum(span, 1) + 1e-3)
    return tf.where(span > 0, tf.cast(stretched, tf.uint8), image)


def equalize(image: Tensor, amount: Tensor, fill: Tensor) -> Tensor:
    """Equalizes the histogram of each channel."""
    channels = tf.unstack(tf.cast(image, tf.int32), axis=-1)
    return tf.stack([_equalized(channel) for channel in channels], -1)


def _equalized(channel: Tensor) -> Tensor:
    counts = tf.math.bincount(tf.reshape(channel, (-1,)), minlength=256, maxlength=256)
    last = tf.gather(counts, tf.reduce_max(channel))
    step = (tf.reduce_sum(counts) - last) // 255
    table = (tf.cumsum(counts, exclusive=True) + step // 2) // tf.maximum(step, 1)
    table = tf.clip_by_value(table, 0, 255)
    spread = tf.where(step > 0, tf.gather(table, channel), channel)
    return tf.cast(spread, tf.uint8)


def _blend(degenerate: Tensor, image: Tensor, amount: Tensor) -> Tensor:
    """Returns ``image + amount·(image − degenerate)``, clipped to 0–255."""
    pixels = tf.cast(image, tf.float32)
    moved = pixels + amount * (pixels - tf.cast(degenerate, tf.float32))
    return tf.cast(tf.clip_by_value(tf.round(moved), 0, 255), tf.uint8)


def _grey(image: Tensor) -> Tensor:
    pixels = tf.cast(image, tf.float32)
    if image.shape[-1] != 3:
        return tf.reduce_mean(pixels, -1, keepdims=True)
    return tf.round(tf.reduce_sum(pixels * tf.constant(GREY), -1, keepdims=True))


def _warp(image: Tensor, rows: tuple[Tensor, ...], fill: Tensor) -> Tensor:
    """Maps output pixel (x, y) to (a·x + b·y + c, d·x + e·y + f) of the image."""
    transform = [tf.cast(value, tf.float32) for value in (*rows, 0, 0)]
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        # The fill value is one number for all channels, so subtract the colour first.
        images=(tf.cast(image, tf.float32) - fill)[None],
        transforms=tf.stack(transform)[None],
        output_shape=image.shape[:2],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )[0]
    pixels = tf.clip_by_value(tf.round(moved + fill), 0, 255)
    return tf.ensure_shape(tf.cast(pixels, tf.uint8), image.shape)
