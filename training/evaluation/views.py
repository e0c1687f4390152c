"""Defines the views of an image that test-time augmentation averages over."""

from collections.abc import Callable
from functools import partial

from keras import ops

from training.data.types import Tensor

View = Callable[[Tensor], Tensor]  # uint8 (N, H, W, C) -> same dtype and shape

SHIFTS = ((-1, 0), (1, 0), (0, -1), (0, 1))  # down and right, in units of ``_unit``


def views(*, mirrored: bool) -> dict[str, View]:
    """Returns views by name: the unchanged image and slightly changed ones.

    Args:
        mirrored: Whether the model was trained on mirrored images. If so, the mirror
            image is added; otherwise, the image shifted in four directions.

    Reference: Krizhevsky et al., "ImageNet Classification with Deep Convolutional
    Neural Networks", 2012, section 4.1, on crops and their reflections.
    """
    unchanged: dict[str, View] = {"as it is": lambda images: images}
    if mirrored:
        return unchanged | {"mirrored": partial(ops.flip, axis=2)}
    return unchanged | {
        f"shifted by {down:+d}, {right:+d}": partial(shift, down=down, right=right)
        for down, right in SHIFTS
    }


def shift(images: Tensor, down: int, right: int) -> Tensor:
    """Shifts images by 1/32 of their shorter side (at least a pixel), padding black.

    Args:
        images: uint8 ``(N, H, W, C)``, with static height and width.
        down: Number of such shifts downwards: −1, 0 or 1.
        right: Number of such shifts to the right: −1, 0 or 1.
    """
    height, width = images.shape[1:3]
    unit = _unit(height, width)
    around = ops.pad(images, ((0, 0), (unit, unit), (unit, unit), (0, 0)))
    top, left = unit * (1 - down), unit * (1 - right)
    return around[:, top : top + height, left : left + width]


def _unit(height: int, width: int) -> int:
    return max(min(height, width) // 32, 1)
