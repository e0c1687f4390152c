"""Policies: which operations are drawn, how often and how strong."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from data import mapped, noise, seeds

from training.data.augmentation import operations
from training.data.augmentation.policies import (
    POLICIES,
    RandAugment,
    Range,
    TrivialAugment,
)

FILL = tf.constant([120.0, 110.0, 100.0])
IMAGE = tf.constant(noise(10, 12, 3))
CHANGES: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "randaugment": lambda seed: RandAugment(POLICIES["randaugment"])(IMAGE, FILL, seed),
    "randaugment_timm": lambda seed: RandAugment(
        POLICIES["randaugment_timm"], 2, 7.0, 0.5, 0.5
    )(IMAGE, FILL, seed),
    "trivial_wide": lambda seed: TrivialAugment(POLICIES["trivial_wide"])(
        IMAGE, FILL, seed
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_is_a_function_of_its_seed_eager_and_mapped(name: str) -> None:
    first = mapped(CHANGES[name], 16)
    eager = np.stack([CHANGES[name](seed) for seed in seeds(16)])
    assert np.array_equal(first, eager)
    assert len(np.unique(first, axis=0)) > 6


def counting(image: tf.Tensor, amount: tf.Tensor, fill: tf.Tensor) -> tf.Tensor:
    """Adds one, so that the result tells how often it was applied."""
    return image + 1


def telling(image: tf.Tensor, amount: tf.Tensor, fill: tf.Tensor) -> tf.Tensor:
    """Fills the image with the amount."""
    return tf.zeros_like(image) + tf.cast(tf.round(amount), tf.uint8)


BLACK = tf.zeros((1, 1, 1), tf.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "probability"), [(1, 1.0), (3, 1.0), (2, 0.5)])
def test_randaugment_applies_so_many(count: int, probability: float) -> None:
    policy = RandAugment((Range(counting),), count, probability=probability)
    applied = mapped(lambda seed: policy(BLACK, FILL, seed), 600)[:, 0, 0, 0]
    expected = np.array([1.0])
    for _ in range(count):
        expected = np.convolve(expected, [1 - probability, probability])
    found = np.bincount(applied, minlength=count + 1) / 600
    np.testing.assert_allclose(found, expected, atol=0.08)


@pytest.mark.slow
def test_randaugment_draws_evenly() -> None:
    ranges = tuple(Range(telling, low=i, high=i) for i in range(5))
    policy = RandAugment(ranges, 1)
    drawn = mapped(lambda seed: policy(BLACK, FILL, seed), 1000)[:, 0, 0, 0]
    assert np.abs(np.bincount(drawn) - 200).max() < 55  # over four deviations


@pytest.mark.slow
@pytest.mark.parametrize(("magnitude", "deviation"), [(7.0, 0.5), (5.0, 0.0)])
def test_randaugment_draws_the_strength(magnitude: float, deviation: float) -> None:
    policy = RandAugment((Range(telling, 0, 200),), 1, magnitude, deviation)
    drawn = mapped(lambda seed: policy(BLACK, FILL, seed), 800)[:, 0, 0, 0] / 20
    assert drawn.mean() == pytest.approx(magnitude, abs=0.1)
    assert drawn.std() == pytest.approx(deviation, abs=0.06)


def test_randaugments_strength_is_cut_to_its_range() -> None:
    policy = RandAugment((Range(telling, 100, 200),), 1, 9.0, 20.0)
    drawn = mapped(lambda seed: policy(BLACK, FILL, seed), 100)
    assert (drawn.min(), drawn.max()) == (100, 200)


@pytest.mark.slow
def test_trivial_augment_draws_31_strengths_evenly() -> None:
    policy = TrivialAugment((Range(telling, 0, 30),))
    drawn = mapped(lambda seed: policy(BLACK, FILL, seed), 3100)[:, 0, 0, 0]
    counts = np.bincount(drawn)
    assert len(counts) == 31 and counts.min() > 55 and counts.max() < 150


@pytest.mark.slow
def test_a_signed_amount_is_negated_half_of_the_time() -> None:
    def moved(seed: tf.Tensor) -> tf.Tensor:
        each = Range(operations.shift_x, 0, 4, signed=True)
        return each.apply(IMAGE, tf.constant(0.5), FILL, seed)

    left = operations.shift_x(IMAGE, tf.constant(2.0), FILL).numpy()
    right = operations.shift_x(IMAGE, tf.constant(-2.0), FILL).numpy()
    images = mapped(moved, 400)
    went = [sum(np.array_equal(i, side) for i in images) for side in (left, right)]
    assert sum(went) == 400 and 160 < went[0] < 240


@pytest.mark.parametrize(
    ("policy", "operation", "low", "high"),
    [
        ("randaugment", "rotate", 0, 30),
        ("randaugment", "posterize", 8, 4),
        ("randaugment", "translate_x", 0, 150 / 331),
        ("randaugment_timm", "posterize", 4, 0),
        ("randaugment_timm", "solarize_add", 0, 110),
        ("randaugment_timm", "brightness", 0, 0.9),
        ("trivial_wide", "rotate", 0, 135),
        ("trivial_wide", "shear_y", 0, 0.99),
        ("trivial_wide", "shift_x", 0, 32),
        ("trivial_wide", "posterize", 8, 2),
        ("trivial_wide", "solarize", 255, 0),
    ],
)
def test_ranges_are_the_sources(
    policy: str, operation: str, low: float, high: float
) -> None:
    (each,) = [r for r in POLICIES[policy] if r.operation.__name__ == operation]
    assert (each.low, each.high) == (low, high)
    geometric = operation in ("rotate", "shear_y", "shift_x", "translate_x")
    assert each.signed == (geometric or operation == "brightness")


def test_sets_are_the_sources() -> None:
    sizes = {name: len(ranges) for name, ranges in POLICIES.items()}
    assert sizes == {"randaugment": 14, "randaugment_timm": 15, "trivial_wide": 14}
    for ranges in POLICIES.values():
        assert len({each.operation for each in ranges}) == len(ranges)
