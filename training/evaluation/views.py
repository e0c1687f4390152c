"""Test-time augmentation: the views of an image whose probabilities are averaged."""

from collections.abc import Callable
from functools import partial

import tensorflow as tf

from training.data.types import Tensor

View = Callable[[Tensor], Tensor]  # uint8 (N, H, W, C) -> another of the same shape

SHIFTS = ((-1, 0), (1, 0), (0, -1), (0, 1))  # down and right, in units of ``_unit``


def views(*, mirrored: bool) -> dict[str, View]:
    """Returns views by their names: each image as it is, and changed a little.

    Args:
        mirrored: The network was trained on mirrored images. It then sees the mirror
            image too; otherwise the image shifted in four directions.

    Reference: Krizhevsky et al., "ImageNet Classification with Deep Convolutional
    Neural Networks", 2012, section 4.1, of crops and their reflections.
    """
    unchanged: dict[str, View] = {"as it is": tf.identity}
    if mirrored:
        return unchanged | {"mirrored": tf.image.flip_left_right}
    return unchanged | {
        f"shifted by {down:+d}, {right:+d}": partial(shift, down=down, right=right)
        for down, right in SHIFTS
    }


def shift(images: Tensor, down: int, right: int) -> Tensor:
    """Moves images by a 32nd of their side, at least a pixel; what appears is black.

    Args:
        images: uint8 ``(N, H, W, C)``, of a static height and width.
        down: −1, 0 or 1 times that far.
        right: Likewise.
    """
    height, width = images.shape[1:3]
    unit = _unit(height, width)
    around = tf.pad(images, ((0, 0), (unit, unit), (unit, unit), (0, 0)))
    top, left = unit * (1 - down), unit * (1 - right)
    return around[:, top : top + height, left : left + width]


def _unit(height: int, width: int) -> int:
    return max(min(height, width) // 32, 1)
