"""Defines augmentation policies: the random choice, number and strength of operations.

An operation's strength, 0 to 1, is mapped linearly to its amount; a signed amount is
negated with probability 0.5.
"""

from dataclasses import dataclass
from functools import partial

import tensorflow as tf

from training.data.augmentation import operations
from training.data.augmentation.operations import Operation
from training.data.types import Tensor


@dataclass(frozen=True)
class Range:
    """An operation and the range of its amounts.

    Attributes:
        operation: The operation.
        low: Amount at strength 0.
        high: Amount at strength 1.
        signed: Whether to draw the sign of the amount.
    """

    operation: Operation
    low: float = 0.0
    high: float = 0.0
    signed: bool = False

    def apply(
        self, image: Tensor, strength: Tensor, fill: Tensor, seed: Tensor
    ) -> Tensor:
        """Applies the operation to an image.

        Args:
            image: uint8 ``(H, W, C)``.
            strength: Float scalar, 0 to 1.
            fill: Colour of uncovered pixels ``(C,)``, 0–255.
            seed: Seed of the sign, int32 ``(2,)``.
        """
        amount = self.low + strength * (self.high - self.low)
        if self.signed:
            heads = tf.random.stateless_uniform((), seed) < 0.5
            amount = tf.where(heads, -amount, amount)
        return self.operation(image, amount, fill)


_signed = partial(Range, low=0.0, signed=True)
_PLAIN = (Range(operations.autocontrast), Range(operations.equalize))
_GEOMETRIC = (
    _signed(operations.rotate, high=30.0),
    _signed(operations.shear_x, high=0.3),
    _signed(operations.shear_y, high=0.3),
)
_ENHANCING = tuple(
    _signed(operation, high=0.9)
    for operation in (
        operations.color,
        operations.contrast,
        operations.brightness,
        operations.sharpness,
    )
)

POLICIES: dict[str, tuple[Range, ...]] = {
    # Cubuk et al., "RandAugment", 2020, section 3, with torchvision's ranges.
    "randaugment": (
        Range(operations.identity),
        *_PLAIN,
        *_GEOMETRIC,
        *_ENHANCING,
        Range(operations.posterize, 8, 4),
        Range(operations.solarize, 255, 0),
        _signed(operations.translate_x, high=150 / 331),
        _signed(operations.translate_y, high=150 / 331),
    ),
    # timm's "inc1" set, used by "ResNet strikes back".
    "randaugment_timm": (
        *_PLAIN,
        Range(operations.invert),
        *_GEOMETRIC,
        *_ENHANCING,
        Range(operations.posterize, 4, 0),
        Range(operations.solarize, 256, 0),
        Range(operations.solarize_add, 0, 110),
        _signed(operations.translate_x, high=0.45),
        _signed(operations.translate_y, high=0.45),
    ),
    # Müller & Hutter, "TrivialAugment", 2021, table 1, as in torchvision.
    "trivial_wide": (
        Range(operations.identity),
        *_PLAIN,
        _signed(operations.rotate, high=135.0),
        _signed(operations.shear_x, high=0.99),
        _signed(operations.shear_y, high=0.99),
        _signed(operations.shift_x, high=32.0),
        _signed(operations.shift_y, high=32.0),
        *(_signed(each.operation, high=0.99) for each in _ENHANCING),
        Range(operations.posterize, 8, 2),
        Range(operations.solarize, 255, 0),
    ),
}


@dataclass(frozen=True)
class RandAugment:
    """Applies several operations in sequence, each drawn uniformly from a set.

    Reference: Cubuk et al., "RandAugment", 2020; probability and deviation are timm's.

    Attributes:
        ranges: The set.
        count: Number of operations.
        magnitude: Mean strength, 0 to 10.
        deviation: Standard deviation of the strength.
        probability: Probability of applying a drawn operation.
    """

    ranges: tuple[Range, ...]
    count: int = 2
    magnitude: float = 9.0
    deviation: float = 0.0
    probability: float = 1.0

    def __call__(self, image: Tensor, fill: Tensor, seed: Tensor) -> Tensor:
        """Maps uint8 ``(H, W, C)`` to the same; ``fill`` is a colour ``(C,)``."""
        for number in range(self.count):
            key = _fold(seed, number)
            noise = tf.random.stateless_normal((), key)
            strength = self.magnitude + self.deviation * noise
            strength = tf.clip_by_value(strength / 10, 0.0, 1.0)
            applied = tf.random.stateless_uniform((), _fold(key, 1)) < self.probability
            apply = partial(
                _apply_one_of, self.ranges, image, strength, fill, _fold(key, 2)
            )
            image = tf.cond(applied, apply, lambda image=image: image)
        return image


@dataclass(frozen=True)
class TrivialAugment:
    """Applies one operation, with a strength drawn uniformly from 0, 1/30, …, 1.

    Reference: Müller & Hutter, "TrivialAugment", 2021, algorithm 1.

    Attributes:
        ranges: The set from which the operation is drawn.
    """

    ranges: tuple[Range, ...]

    def __call__(self, image: Tensor, fill: Tensor, seed: Tensor) -> Tensor:
        """Maps uint8 ``(H, W, C)`` to the same; ``fill`` is a colour ``(C,)``."""
        level = tf.random.stateless_uniform((), seed, 0, 31, tf.int32)
        strength = tf.cast(level, tf.float32) / 30
        return _apply_one_of(self.ranges, image, strength, fill, _fold(seed, 1))


def _apply_one_of(
    ranges: tuple[Range, ...],
    image: Tensor,
    strength: Tensor,
    fill: Tensor,
    seed: Tensor,
) -> Tensor:
    drawn = tf.random.stateless_uniform((), seed, 0, len(ranges), tf.int32)
    key = _fold(seed, 1)
    branches = [partial(each.apply, image, strength, fill, key) for each in ranges]
    return tf.ensure_shape(tf.switch_case(drawn, branches), image.shape)


def _fold(seed: Tensor, number: int) -> Tensor:
    return tf.random.experimental.stateless_fold_in(seed, number)
