"""Mixup and cutmix against their formulas, and the law of their λ."""

import numpy as np
import pytest
import tensorflow as tf
from data import mapped, noise, seeds

from training.data.augmentation import mixing
from training.data.augmentation.mixing import Mixing

IMAGES = tf.constant(noise(6, 9, 12, 3))
LABELS = tf.constant([0, 1, 2, 3, 0, 1], tf.int64)
TARGETS = tf.one_hot(LABELS, 4)
SEED = tf.constant([5, 6])


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 8.0])
def test_lambda_has_the_moments_of_beta(alpha: float) -> None:
    draws = mapped(lambda seed: mixing.beta(alpha, seed), 4000)
    assert np.isfinite(draws).all() and draws.min() >= 0 and draws.max() <= 1
    assert draws.mean() == pytest.approx(0.5, abs=0.03)
    assert draws.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.06)


@pytest.mark.slow
def test_lambda_of_a_tiny_alpha_is_a_number() -> None:
    draws = mapped(lambda seed: mixing.beta(0.01, seed), 2000)
    assert np.isfinite(draws).all()
    assert ((draws < 1e-3) | (draws > 1 - 1e-3)).mean() > 0.9


def test_permutation_is_one_and_every_one() -> None:
    orders = mapped(lambda seed: mixing.permutation(3, seed), 600)
    assert (np.sort(orders) == [0, 1, 2]).all()
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6 and counts.min() > 60


def test_mixup_is_its_formula() -> None:
    images, targets = mixing.mixup(IMAGES, TARGETS, 1.0, SEED)
    share = float(mixing.beta(1.0, SEED))
    partner = mixing.permutation(6, SEED).numpy()
    pixels = IMAGES.numpy().astype(float)
    expected = share * pixels + (1 - share) * pixels[partner]
    assert images.dtype == tf.uint8 and 0.05 < share < 0.95
    assert np.abs(images.numpy() - expected).max() <= 0.501
    soft = share * TARGETS.numpy() + (1 - share) * TARGETS.numpy()[partner]
    np.testing.assert_allclose(targets, soft, atol=1e-6)


@pytest.mark.slow
def test_cutmix_pastes_a_rectangle_and_counts_its_area() -> None:
    for seed in seeds(40):
        images, targets = mixing.cutmix(IMAGES, TARGETS, 1.0, seed)
        partner = mixing.permutation(6, seed).numpy()
        own = (images.numpy() == IMAGES.numpy()).all(-1)
        theirs = (images.numpy() == IMAGES.numpy()[partner]).all(-1)
        assert (own | theirs).all()
        pasted = ~own[partner != np.arange(6)]
        area = pasted.mean((1, 2))
        if len(area):
            assert np.ptp(area) == 0  # one rectangle for the batch
            rows, columns = pasted[0].any(1), pasted[0].any(0)
            assert rows.sum() * columns.sum() == pasted[0].sum()
            soft = TARGETS.numpy() * (1 - area[0]) + TARGETS.numpy()[partner] * area[0]
            np.testing.assert_allclose(targets, soft, atol=1e-6)


@pytest.mark.slow
def test_cutmix_pastes_one_minus_lambda_away_from_the_border() -> None:
    images = tf.constant(noise(2, 64, 64, 1))
    targets = tf.one_hot([0, 1], 2)
    met = 0
    for seed in seeds(60):
        wanted = 1 - float(mixing.beta(1.0, seed))
        _, soft = mixing.cutmix(images, targets, 1.0, seed)
        pasted = 1 - float(soft[0, 0])
        assert pasted <= wanted + 1e-6
        met += pasted > wanted - 0.06 and wanted > 0.01
    assert met > 10  # the others are cut off by the border


@pytest.mark.slow
@pytest.mark.parametrize("mixup, cutmix", [(0.2, 0.0), (0.0, 1.0), (0.2, 1.0)])
@pytest.mark.parametrize("count", [6, 1])
def test_is_a_function_of_its_seed_eager_and_mapped(
    mixup: float, cutmix: float, count: int
) -> None:
    mix = Mixing(mixup, cutmix, 4)

    def mixed(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return mix(IMAGES[:count], LABELS[:count], seed)

    first = list(seeds(12).map(mixed).as_numpy_iterator())
    for (images, targets), seed in zip(first, seeds(12), strict=True):
        eager = mixed(seed)
        assert np.array_equal(images, eager[0]) and np.array_equal(targets, eager[1])
        np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
        assert images.dtype == np.uint8
        if count == 1:
            assert np.array_equal(images, IMAGES[:1])
    assert count == 1 or len({images.tobytes() for images, _ in first}) > 6


@pytest.mark.slow
def test_mixup_and_cutmix_take_turns() -> None:
    mix = Mixing(1.0, 1.0, 4)

    def is_cut(seed: tf.Tensor) -> tf.Tensor:
        images, _ = mix(IMAGES, LABELS, seed)
        pairs = tf.reduce_all(images[:, None] == IMAGES[None], -1)  # by pixel
        return tf.reduce_all(tf.reduce_any(pairs, 1))

    share = mapped(is_cut, 300).mean()
    assert 0.38 < share < 0.62
