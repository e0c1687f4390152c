"""Defines random changes to training images, each a pure function of its seed.

Common Args: ``image``, uint8 ``(H, W, C)``; ``shape``, its height and width, int32
``(2,)``; ``seed``, int32 ``(2,)``. A window is ``(top, left, height, width)``, int32.
"""

import math

import tensorflow as tf

from training.data.augmentation import operations
from training.data.types import Size, Tensor

# The principal components of ImageNet's RGB values, 0–1, and their standard deviations,
# as in fb.resnet.torch.
RGB_DEVIATIONS = (0.2175, 0.0188, 0.0045)
RGB_AXES = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)

WINDOW_DRAWS = 10  # attempts to draw a window that fits into the image
ERASED_AREA = (0.02, 0.33)  # fraction of the image, as in torchvision; paper: 0.02–0.4


def pad_crop(image: Tensor, pad: int, seed: Tensor) -> Tensor:
    """Adds ``pad`` black pixels on each side and crops the old size at random.

    Reference: He et al., "Deep Residual Learning", 2016, section 4.2, with a pad of 4.
    """
    if pad == 0:
        return image
    height, width, channels = image.shape
    padded = tf.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    place = tf.random.stateless_uniform((2,), seed, 0, 2 * pad + 1, tf.int32)
    return tf.slice(padded, [place[0], place[1], 0], [height, width, channels])


def flip(image: Tensor, seed: Tensor) -> Tensor:
    """Mirrors the image left to right with probability one half."""
    return tf.image.stateless_random_flip_left_right(image, seed)


def scale_window(shape: Tensor, size: Size, seed: Tensor) -> Tensor:
    """Returns the window of the ResNet paper's scale augmentation, at a random place.

    For a ``size`` (height and width) of 224 pixels, it corresponds to scaling the
    image's shorter side to 256…480; for other sizes, in proportion.

    Reference: He et al., "Deep Residual Learning", 2016, section 3.4.
    """
    scale = tf.random.stateless_uniform((), seed, 256 / 224, 480 / 224)
    sides = tf.cast(shape, tf.float32)
    wanted = tf.constant(size, tf.float32)
    extent = tf.cast(tf.round(tf.reduce_min(sides / wanted) * wanted / scale), tf.int32)
    extent = tf.clip_by_value(extent, 1, shape)
    share = tf.random.stateless_uniform((2,), seed + 1)
    room = tf.cast(shape - extent + 1, tf.float32)
    return tf.concat([tf.cast(share * room, tf.int32), extent], 0)


def area_window(shape: Tensor, seed: Tensor) -> Tensor:
    """Returns a random window of 8–100 % of the area, with an aspect of 3:4 to 4:3.

    Area and log-aspect are drawn uniformly until the window fits into the image, at
    most ten times, as in torchvision. If none fits, the window is the largest one with
    such an aspect. (TensorFlow's ``sample_distorted_bounding_box`` draws the height
    uniformly, which favours small areas.)

    Reference: Szegedy et al., "Going Deeper with Convolutions", 2015, section 6.
    """
    draws = tf.random.stateless_uniform((WINDOW_DRAWS + 1, 2), seed)
    sides = tf.cast(shape, tf.float32)
    areas = tf.reduce_prod(sides) * (0.08 + 0.92 * draws[:-1, 0])
    stretch = tf.exp(math.log(4 / 3) / 2 * (2 * draws[:-1, 1] - 1))  # √ of the aspect
    drawn = tf.sqrt(areas)[:, tf.newaxis] * tf.stack([1 / stretch, stretch], -1)
    largest = tf.minimum(sides, 4 / 3 * sides[::-1])
    extents = tf.concat([drawn, largest[tf.newaxis]], 0)
    extents = tf.maximum(tf.round(extents), 1)
    fits = tf.reduce_all(extents <= sides, -1)
    extent = extents[tf.argmax(fits)]
    begin = tf.floor(draws[-1] * (sides - extent + 1))
    return tf.cast(tf.concat([begin, extent], 0), tf.int32)


def color_jitter(image: Tensor, strength: float, seed: Tensor) -> Tensor:
    """Scales brightness, contrast and saturation, in random order.

    Each factor is drawn from 1 − ``strength`` to 1 + ``strength`` (0 to 1).

    Reference: Howard, "Some Improvements on Deep Convolutional Neural Network Based
    Image Classification", 2013; the random order is from fb.resnet.torch.
    """
    changes = (operations.brightness, operations.contrast, operations.color)
    amounts = tf.random.stateless_uniform((3,), seed, -strength, strength)
    fill = tf.zeros(image.shape[-1])
    for position in range(3):
        drawn = tf.random.experimental.index_shuffle(position, seed, 2)
        branches = [
            lambda image=image, change=change, amount=amounts[i]: change(
                image, amount, fill
            )
            for i, change in enumerate(changes)
        ]
        image = tf.ensure_shape(tf.switch_case(drawn, branches), image.shape)
    return image


def lighting(image: Tensor, deviation: float, seed: Tensor) -> Tensor:
    """Adds one random colour along the principal components of ImageNet's colours.

    Args:
        image: uint8 ``(H, W, 3)``.
        deviation: Standard deviation relative to each component's; AlexNet: 0.1.
        seed: Seed of the draw, int32 ``(2,)``.

    Reference: Krizhevsky et al., "ImageNet Classification with Deep Convolutional
    Neural Networks", 2012, section 4.1; the ResNet paper's "standard color
    augmentation".
    """
    factors = tf.random.stateless_normal((3,), seed, stddev=deviation)
    axes = tf.constant(RGB_AXES)
    added = 255 * tf.linalg.matvec(axes, factors * tf.constant(RGB_DEVIATIONS))
    pixels = tf.round(tf.cast(image, tf.float32) + added)
    return tf.cast(tf.clip_by_value(pixels, 0, 255), tf.uint8)


def erase(image: Tensor, probability: float, fill: Tensor, seed: Tensor) -> Tensor:
    """Replaces a rectangle with the colour ``fill`` ``(C,)``, with ``probability``.

    The area is 2–33 % of the image, the aspect 0.3 to 1/0.3 (log-uniform); a rectangle
    that does not fit is cut to the image.

    Reference: Zhong et al., "Random Erasing Data Augmentation", 2020, algorithm 1.
    """
    height, width, _ = image.shape
    draws = tf.random.stateless_uniform((4,), seed)
    share = ERASED_AREA[0] + draws[0] * (ERASED_AREA[1] - ERASED_AREA[0])
    aspect = tf.exp(tf.random.stateless_uniform((), seed + 1, -1.204, 1.204))  # ln 0.3
    sides = tf.sqrt(share * height * width) * tf.stack([aspect**0.5, aspect**-0.5])
    extent = tf.clip_by_value(tf.cast(tf.round(sides), tf.int32), 1, [height, width])
    room = tf.cast([height, width] - extent + 1, tf.float32)
    begin = tf.cast(draws[1:3] * room, tf.int32)
    end = begin + extent
    rows = tf.range(height)[:, None, None]
    columns = tf.range(width)[None, :, None]
    within = (rows >= begin[0]) & (rows < end[0])
    within &= (columns >= begin[1]) & (columns < end[1]) & (draws[3] < probability)
    return tf.where(within, tf.cast(tf.round(fill), tf.uint8), image)
