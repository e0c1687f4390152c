from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from data import mapped, noise, seeds

from training.data.augmentation import transforms

IMAGE = 1 + noise(5, 7, 3) // 2  # no black pixel
SHAPES = [(224, 224), (256, 341), (97, 61), (31, 500), (2000, 1333), (8, 8), (2, 1)]


def pads(pad: int) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda seed: transforms.pad_crop(tf.constant(IMAGE), pad, seed)


AUGMENTATIONS = {
    "pad_crop": pads(2),
    "flip": lambda seed: transforms.flip(tf.constant(IMAGE), seed),
    "scale_window": lambda seed: transforms.scale_window(
        tf.constant([97, 61]), (24, 32), seed
    ),
    "area_window": lambda seed: transforms.area_window(tf.constant([97, 61]), seed),
    "color_jitter": lambda seed: transforms.color_jitter(tf.constant(IMAGE), 0.4, seed),
    "lighting": lambda seed: transforms.lighting(tf.constant(IMAGE), 0.1, seed),
    "erase": lambda seed: transforms.erase(tf.constant(IMAGE), 0.7, tf.zeros(3), seed),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_is_a_function_of_its_seed_eager_and_mapped(name: str) -> None:
    function = AUGMENTATIONS[name]
    first, again = mapped(function, 12), mapped(function, 12)
    eager = np.stack([function(seed) for seed in seeds(12)])
    assert np.array_equal(first, again)
    assert np.array_equal(first, eager)
    assert len(np.unique(first, axis=0)) > 1


@pytest.mark.parametrize("pad", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_pad_crop_shifts_over_black_to_every_offset(pad: int) -> None:
    height, width, _ = IMAGE.shape
    padded = np.pad(IMAGE, ((pad, pad), (pad, pad), (0, 0)))
    side = range(2 * pad + 1)
    shifted = {
        padded[y : y + height, x : x + width].tobytes(): (y, x)
        for y in side
        for x in side
    }
    places = {shifted.get(crop.tobytes()) for crop in mapped(pads(pad), 500)}
    assert places == set(shifted.values())


def test_pad_crop_by_nothing_changes_nothing() -> None:
    assert all(np.array_equal(crop, IMAGE) for crop in mapped(pads(0), 5))


def test_flip_mirrors_half_of_the_images() -> None:
    images = mapped(AUGMENTATIONS["flip"], 400)
    mirrored = [np.array_equal(image, IMAGE[:, ::-1]) for image in images]
    unchanged = [np.array_equal(image, IMAGE) for image in images]
    assert sum(mirrored) + sum(unchanged) == 400
    assert 160 <= sum(mirrored) <= 240  # four standard deviations


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [(224, 224), (32, 24)])
def test_scale_window_is_the_papers(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    function = partial(transforms.scale_window, tf.constant(shape), size)
    windows = mapped(function, 200)
    assert windows.dtype == np.int32
    inside(windows, shape)
    # Section 3.4: the shorter side becomes 256 to 480 for a crop of 224. `whole` is
    # the largest window of that aspect.
    whole = min(np.divide(shape, size)) * np.array(size)
    extents = windows[:, 2:]
    assert (extents >= np.maximum(1, whole * 224 / 480 - 0.51)).all()
    assert (extents <= np.maximum(1, whole * 224 / 256 + 0.51)).all()
    if min(shape) > 200:  # enough pixels to tell the ends of the range
        assert extents[:, 0].min() < whole[0] * 224 / 470
        assert extents[:, 0].max() > whole[0] * 224 / 262


def test_scale_window_reaches_every_border() -> None:
    shape = (10, 14)
    function = partial(transforms.scale_window, tf.constant(shape), (8, 8))
    windows = mapped(function, 300)
    assert windows[:, :2].min(0).tolist() == [0, 0]
    assert (windows[:, :2] + windows[:, 2:]).max(0).tolist() == list(shape)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_area_window_is_inceptions(shape: tuple[int, int]) -> None:
    windows = mapped(partial(transforms.area_window, tf.constant(shape)), 200)
    assert windows.dtype == np.int32
    inside(windows, shape)
    height, width = windows[:, 2:].T
    # Rounding to whole pixels moves each side by one at most.
    assert ((width + 1) / height >= 3 / 4).all()
    assert ((width - 1) / height <= 4 / 3).all()
    if max(shape) < 10 * min(shape):  # else no window has 8 % of it
        assert ((height + 1) * (width + 1) >= 0.08 * np.prod(shape)).all()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(224, 224), (375, 500)])
def test_area_windows_are_drawn_evenly(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    share = rng.uniform(0.08, 1, 40000)
    aspect = np.exp(rng.uniform(-np.log(4 / 3), np.log(4 / 3), len(share)))
    sides = np.sqrt(share * np.prod(shape) / [aspect, 1 / aspect]).round()
    expected = sides[:, (shape >= sides.T).all(1)]
    windows = mapped(partial(transforms.area_window, tf.constant(shape)), 4000)
    places, drawn = windows[:, :2].T, windows[:, 2:].T
    points = np.linspace(0.02, 0.98, 25)
    for measure in (np.prod, lambda x, _: x[1] / x[0]):
        wanted = np.quantile(measure(expected, 0), points)
        found = [np.mean(measure(drawn, 0) <= value) for value in wanted]
        np.testing.assert_allclose(found, points, atol=0.03)
    assert np.prod(drawn, 0).min() < 0.09 * np.prod(shape)
    room = np.array(shape)[:, None] - drawn + 1
    share = (places + 0.5) / room
    np.testing.assert_allclose(share.mean(1), 0.5, atol=0.02)
    assert share.min() < 0.02 and share.max() > 0.98


def inside(windows: np.ndarray, shape: tuple[int, int]) -> None:
    assert (windows[:, :2] >= 0).all()
    assert (windows[:, 2:] >= 1).all()
    assert (windows[:, :2] + windows[:, 2:] <= shape).all()


@pytest.mark.slow
def test_color_jitter_scales_brightness_as_far_as_it_may() -> None:
    # Of a grey image without contrast, brightness alone changes anything.
    image = tf.fill((4, 4, 3), tf.constant(100, tf.uint8))
    levels = mapped(lambda seed: transforms.color_jitter(image, 0.3, seed), 500)
    assert (levels == levels[:, :1, :1, :1]).all()
    assert 70 <= levels.min() < 75 and 125 < levels.max() <= 130


@pytest.mark.slow
def test_color_jitter_draws_the_order() -> None:
    image = tf.constant(noise(6, 6, 3))
    found = {image.tobytes() for image in mapped(AUGMENTATIONS["color_jitter"], 40)}
    assert len(found) == 40
    assert np.array_equal(
        transforms.color_jitter(image, 0.0, tf.constant([1, 2])), image
    )


@pytest.mark.slow
def test_lighting_has_the_covariance_of_the_principal_components() -> None:
    image = tf.fill((1, 1, 3), tf.constant(128, tf.uint8))
    added = mapped(lambda seed: transforms.lighting(image, 0.5, seed), 4000)
    added = added[:, 0, 0].astype(float) - 128
    axes, deviations = (
        np.array(transforms.RGB_AXES),
        np.array(transforms.RGB_DEVIATIONS),
    )
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-3)
    expected = (axes * (255 * 0.5 * deviations) ** 2) @ axes.T
    np.testing.assert_allclose(np.cov(added.T), expected, rtol=0.08)
    assert np.abs(added.mean(0)).max() < 1.5


def test_lighting_adds_one_colour_to_all_pixels() -> None:
    image = noise(5, 5, 3) // 4 + 96
    changed = transforms.lighting(tf.constant(image), 0.1, tf.constant([3, 4])).numpy()
    added = changed.astype(int) - image
    assert len(np.unique(added.reshape(-1, 3), axis=0)) == 1 and added.any()


@pytest.mark.slow
def test_erase_has_the_papers_areas_and_aspects() -> None:
    image = tf.fill((60, 40, 1), tf.constant(255, tf.uint8))
    erased = mapped(lambda seed: transforms.erase(image, 1.0, tf.zeros(1), seed), 400)
    black = erased[..., 0] == 0
    height, width = black.any(2).sum(1), black.any(1).sum(1)
    assert (black.sum((1, 2)) == height * width).all()  # rectangles
    share = height * width / (60 * 40)
    assert 0.015 < share.min() < 0.04 and 0.29 < share.max() < 0.35
    free = (height < 60) & (width < 40)
    aspect = np.log(height / width)[free]
    assert np.abs(aspect).max() < np.log(1 / 0.3) + 0.2
    assert black.any(0).all()  # every pixel is met


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_erase_happens_as_often_as_asked(probability: float) -> None:
    image = tf.fill((8, 8, 1), tf.constant(255, tf.uint8))
    fill = tf.constant([17.4])
    erased = mapped(lambda seed: transforms.erase(image, probability, fill, seed), 400)
    changed = (erased == 17).any((1, 2, 3))
    assert (erased == 255).all((1, 2, 3)).sum() == 400 - changed.sum()
    assert abs(changed.mean() - probability) <= 4 * (0.25 * 0.75 / 400) ** 0.5
