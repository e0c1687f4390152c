"""Each operation against Pillow's, on noise and on a smooth image."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from data import noise, smooth
from PIL import Image, ImageEnhance, ImageOps

from training.data.augmentation import operations

IMAGES = {"noise": noise(21, 16, 3), "smooth": smooth(21, 16)}
BLACK = tf.zeros(3)


def ours(name: str, image: np.ndarray, amount: float) -> np.ndarray:
    operation = getattr(operations, name)
    return operation(tf.constant(image), tf.constant(amount, tf.float32), BLACK).numpy()


def affine(*rows: float) -> Callable[[Image.Image], Image.Image]:
    # Pillow takes a pixel's centre for its place, TensorFlow its corner.
    a, b, c, d, e, f = rows
    moved = (a, b, c - (a + b - 1) / 2, d, e, f - (d + e - 1) / 2)
    return lambda image: image.transform(
        image.size, Image.Transform.AFFINE, moved, Image.Resampling.BILINEAR
    )


PILLOW: dict[str, tuple[float, Callable[[Image.Image], Image.Image]]] = {
    "identity": (0.5, lambda image: image),
    "brightness": (0.6, lambda image: ImageEnhance.Brightness(image).enhance(1.6)),
    "color": (-0.7, lambda image: ImageEnhance.Color(image).enhance(0.3)),
    "contrast": (0.8, lambda image: ImageEnhance.Contrast(image).enhance(1.8)),
    "sharpness": (0.9, lambda image: ImageEnhance.Sharpness(image).enhance(1.9)),
    "posterize": (3.0, lambda image: ImageOps.posterize(image, 3)),
    "solarize": (100.0, lambda image: ImageOps.solarize(image, 100)),
    "invert": (0.0, ImageOps.invert),
    "autocontrast": (0.0, ImageOps.autocontrast),
    "equalize": (0.0, ImageOps.equalize),
    "shift_x": (3.0, affine(1, 0, 3, 0, 1, 0)),
    "shift_y": (-5.0, affine(1, 0, 0, 0, 1, -5)),
    "translate_x": (0.25, affine(1, 0, 4, 0, 1, 0)),
    "translate_y": (-1 / 3, affine(1, 0, 0, 0, 1, -7)),
}


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("name", PILLOW)
def test_is_pillows(name: str, image: str) -> None:
    amount, pillow = PILLOW[name]
    expected = np.asarray(pillow(Image.fromarray(IMAGES[image])), int)
    found = ours(name, IMAGES[image], amount).astype(int)
    assert np.abs(found - expected).max() <= 1  # Pillow cuts fractions off, we round


def bilinear(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """The image at a place, black outside of it."""
    height, width, _ = image.shape
    left, top = int(np.floor(x)), int(np.floor(y))
    value = np.zeros(3)
    for row, across in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, along in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= row < height and 0 <= column < width:
                value += across * along * image[row, column]
    return value


SIN, COS = np.sin(np.radians(25.0)), np.cos(np.radians(25.0))
PLACES = {  # where the pixel (x, y) of a 21×16 image comes from
    "shear_x": (0.3, lambda x, y: (x + 0.3 * y, y)),
    "shear_y": (-0.2, lambda x, y: (x, y - 0.2 * x)),
    "rotate": (
        25.0,
        lambda x, y: (
            7.5 + COS * (x - 7.5) - SIN * (y - 10),
            10 + SIN * (x - 7.5) + COS * (y - 10),
        ),
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_warp_takes_each_pixel_from_its_place(name: str) -> None:
    amount, place = PLACES[name]
    image = IMAGES["noise"]
    expected = [[bilinear(image, *place(x, y)) for x in range(16)] for y in range(21)]
    assert np.abs(ours(name, image, amount) - np.array(expected)).max() < 0.6


def test_rotation_turns_as_pillows() -> None:
    image = np.zeros((9, 9, 3), np.uint8)
    image[4, 8] = 255  # the right end goes up
    expected = np.asarray(Image.fromarray(image).rotate(90))
    assert np.array_equal(ours("rotate", image, 90.0), expected)


def test_uncovered_pixels_get_the_fill() -> None:
    fill = tf.constant([10.0, 20.0, 30.0])
    image = tf.constant(noise(6, 6, 3))
    moved = operations.shift_x(image, tf.constant(2.0), fill).numpy()
    assert np.array_equal(moved[:, :4], image[:, 2:])
    assert (moved[:, 4:] == [10, 20, 30]).all()


def test_solarize_add_brightens_the_dark_half() -> None:
    image = np.array([[[0, 100, 127], [128, 200, 255]]], np.uint8)
    found = ours("solarize_add", image, 110.0)
    assert found.tolist() == [[[110, 210, 237], [128, 200, 255]]]


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "contrast", "sharpness"])
def test_a_constant_image_stays(name: str) -> None:
    image = np.full((7, 5, 3), 93, np.uint8)
    assert np.array_equal(ours(name, image, 0.7), image)


@pytest.mark.parametrize("name", ["color", "contrast", "equalize", "rotate"])
def test_one_channel_is_enough(name: str) -> None:
    image = tf.constant(noise(8, 8, 1))
    changed = getattr(operations, name)(image, tf.constant(0.5), tf.zeros(1))
    assert (changed.shape, changed.dtype) == (image.shape, tf.uint8)
