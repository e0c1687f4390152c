"""Image files decoded without TensorFlow, as TensorFlow decodes them in training."""

import io
import itertools
from typing import Any

import bombs
import numpy as np
import pytest
import tensorflow as tf
from data import encode, noise, smooth
from PIL import Image

from export.metadata.description import Description
from export.prediction.decode import decode
from training.data.preprocessing import Preprocessing

SIZE = (32, 24)
IMAGES = {"larger": smooth(90, 70), "sharp": noise(60, 81, 3), "smaller": smooth(9, 7)}
# format, mode, options, and by how many levels a pixel may differ: JPEG decoders round
# differently.
CASES: dict[str, tuple[str, str | None, dict[str, Any], int]] = {
    "JPEG": ("JPEG", None, {"quality": 90, "subsampling": 0}, 4),
    "progressive JPEG": ("JPEG", None, {"progressive": True, "subsampling": 0}, 4),
    "grey JPEG": ("JPEG", "L", {}, 2),
    "CMYK JPEG": ("JPEG", "CMYK", {}, 2),
    "PNG": ("PNG", None, {}, 1),
    "grey PNG": ("PNG", "L", {}, 1),
    "PNG with palette": ("PNG", "P", {}, 2),
    "PNG with transparency": ("PNG", "RGBA", {}, 1),
    "grey PNG with transparency": ("PNG", "LA", {}, 1),
    "black and white PNG": ("PNG", "1", {}, 1),
    "GIF": ("GIF", "P", {}, 1),
    "BMP": ("BMP", None, {}, 1),
    "WebP": ("WEBP", None, {}, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_pixels_are_trainings(name: str) -> None:
    kind, mode, options, tolerance = CASES[name]
    for image, channels, crop in itertools.product(IMAGES, (1, 3), (1.0, 0.875)):
        if (mode, channels) == ("CMYK", 1):
            continue  # which TensorFlow cannot
        data = encode(IMAGES[image], kind, mode, **options)
        preprocessing = Preprocessing(SIZE, channels, crop, (), ())
        theirs = preprocessing.decode(tf.constant(data)).numpy().astype(int)
        ours = decode(data, Description((), SIZE, channels, crop))
        assert (ours.shape, ours.dtype) == (theirs.shape, np.uint8)
        assert np.abs(ours - theirs).max() <= tolerance, (image, channels, crop)


def test_sixteen_bits_keep_their_highest() -> None:
    deep = Image.fromarray((np.arange(256, dtype=np.uint16) * 257).reshape(16, 16))
    file = io.BytesIO()
    deep.save(file, "PNG")
    grey = decode(file.getvalue(), Description((), (16, 16), 1, 1.0))
    np.testing.assert_array_equal(grey.ravel(), np.arange(256))


@pytest.mark.parametrize(
    ("data", "channels", "said"),
    [
        (b"", 3, "PNG, GIF, BMP or WebP file, got other data"),
        (b"<html>", 3, "PNG, GIF, BMP or WebP file, got other data"),
        (
            encode(noise(40, 40, 3), "JPEG")[:300],
            3,
            "undamaged, but decoding it failed: ",
        ),
        (encode(noise(40, 40, 3), "TIFF"), 3, "file, got other data"),
        (encode(noise(71, 71, 3), "PNG"), 3, "at most 5000 pixels, got 71×71"),
        (encode(noise(9, 9, 3), "PNG"), 2, "1 or 3 channels, got 2"),
    ],
    ids=["empty", "html", "cut", "tiff", "limit", "channels"],
)
def test_what_cannot_be_decoded_is_told(data: bytes, channels: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decode(data, Description((), SIZE, channels, 1.0), max_pixels=5000)


# Pillow itself warns of the first and refuses the second.
@pytest.mark.parametrize("side", [10_000, 20_000])
def test_a_bomb_is_told(side: int) -> None:
    with pytest.raises(ValueError, match=f"at most 5000 pixels, got {side}×{side}"):
        decode(bombs.png(side), Description((), SIZE, 3, 1.0), max_pixels=5000)


def test_no_other_limit_than_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = encode(noise(40, 40, 3), "PNG")
    assert decode(data, Description((), SIZE, 3, 1.0), 1600).shape == (*SIZE, 3)
    assert Image.MAX_IMAGE_PIXELS == 100, "others keep theirs"
