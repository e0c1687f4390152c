"""Random changes to training images, each a pure function of its seed.

Images are uint8 ``(H, W, C)``; a seed is an int tensor of two elements.
"""

import tensorflow as tf

from training.images import Size, Tensor


def pad_crop(image: Tensor, pad: int, seed: Tensor) -> Tensor:
    """Pads by ``pad`` black pixels a side and crops the old size at a random place.

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
    """The window of the ResNet paper's scale augmentation.

    The image's shorter side is scaled to a random length in 256…480 for a crop of 224
    (in that proportion for other sizes), and a random place is cropped.

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
    """A window of 8–100 % of the area and an aspect of 3:4 to 4:3.

    Reference: Szegedy et al., "Going Deeper with Convolutions", 2015, section 6.
    """
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.concat([shape, [3]], 0),
        tf.zeros((1, 0, 4)),
        seed,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        use_image_if_no_bounding_boxes=True,
    )
    return tf.concat([begin[:2], extent[:2]], 0)
