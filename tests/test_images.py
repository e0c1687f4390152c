import io
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from data import encode, noise, smooth
from PIL import Image

from training.data.decoding import graph, images
from training.data.preprocessing import Preprocessing

SHAPE = (13, 17)
COLOUR = noise(*SHAPE, 3)
GREY = noise(*SHAPE)
DEEP = noise(*SHAPE, 2, seed=1).view(np.uint16)[..., 0]


@pytest.mark.parametrize(
    "shape, size, crop, window",
    [
        ((8, 8), (8, 8), 1.0, (0, 0, 8, 8)),
        ((28, 28), (32, 32), 1.0, (0, 0, 28, 28)),
        ((256, 256), (224, 224), 0.875, (16, 16, 224, 224)),
        ((256, 341), (224, 224), 0.875, (16, 58, 224, 224)),
        ((500, 375), (224, 224), 0.875, (86, 23, 328, 328)),
        ((480, 640), (224, 224), 1.0, (0, 80, 480, 480)),
        ((480, 640), (12, 8), 1.0, (0, 160, 480, 320)),
        ((480, 640), (10, 40), 1.0, (160, 0, 160, 640)),
        ((480, 640), (10, 40), 0.5, (200, 160, 80, 320)),
        ((7, 9), (224, 224), 1.0, (0, 1, 7, 7)),
        ((1, 1), (224, 224), 0.1, (0, 0, 1, 1)),
        ((1, 1000), (32, 32), 0.1, (0, 499, 1, 1)),
        ((1000, 2), (16, 64), 1.0, (499, 0, 1, 2)),
    ],
)
def test_centre_window(
    shape: tuple[int, int],
    size: tuple[int, int],
    crop: float,
    window: tuple[int, int, int, int],
) -> None:
    found = images.centre_window(tf.constant(shape), size, crop)
    assert found.dtype == tf.int32
    assert tuple(found.numpy()) == window


def two_frames() -> bytes:
    file = io.BytesIO()
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    first.save(file, "GIF", save_all=True, append_images=[second])
    return file.getvalue()


# A file, and by how many levels Pillow may differ: TensorFlow decodes JPEG by
# libjpeg's fast inverse transform, Pillow by the exact one.
FILES = {
    "jpeg": (encode(smooth(*SHAPE), "JPEG", subsampling=0), 4),
    "jpeg_grey": (encode(smooth(*SHAPE), "JPEG", "L"), 4),
    "jpeg_progressive": (
        encode(smooth(*SHAPE), "JPEG", subsampling=0, progressive=True),
        4,
    ),
    "png": (encode(COLOUR, "PNG"), 0),
    "png_grey": (encode(GREY, "PNG"), 0),
    "png_grey_alpha": (encode(COLOUR, "PNG", "LA"), 0),
    "png_alpha": (encode(COLOUR, "PNG", "RGBA"), 0),
    "png_palette": (encode(COLOUR, "PNG", "P"), 0),
    "png_bits": (encode(COLOUR, "PNG", "1"), 0),
    "png_16_bit": (encode(DEEP, "PNG"), 0),
    "gif": (encode(COLOUR, "GIF", "P"), 0),
    "gif_frames": (two_frames(), 0),
    "bmp": (encode(COLOUR, "BMP"), 0),
    "bmp_grey": (encode(GREY, "BMP"), 0),
    "bmp_alpha": (encode(COLOUR, "BMP", "RGBA"), 0),
    "webp": (encode(COLOUR, "WEBP", lossless=True), 0),
    "webp_alpha": (encode(COLOUR, "WEBP", "RGBA", lossless=True), 0),
}


def pillow(data: bytes, channels: int) -> np.ndarray:
    picture = Image.open(io.BytesIO(data))
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    decoded = np.asarray(picture.convert("RGB" if channels == 3 else "L"))
    return decoded.reshape(*SHAPE, channels).astype(int)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("channels", [1, 3])
def test_decode_agrees_with_pillow(name: str, channels: int) -> None:
    data, tolerance = FILES[name]
    decoded = graph.decode(tf.constant(data), channels)
    assert decoded.dtype == tf.uint8
    assert decoded.shape == (*SHAPE, channels)
    # Libraries round the grey value of a colour differently by one level.
    tolerance += channels == 1
    assert np.abs(decoded.numpy() - pillow(data, channels)).max() <= tolerance


@pytest.mark.parametrize("channels", [1, 3])
def test_window_equals_decoded_and_cut(channels: int) -> None:
    files = [data for data, _ in FILES.values()]

    def read(data: tf.Tensor) -> tf.Tensor:
        return images.decode_window(data, lambda shape: [2, 3, 5, 7], channels)

    mapped = tf.data.Dataset.from_tensor_slices(files).map(read).as_numpy_iterator()
    for name, data, found in zip(FILES, files, mapped, strict=True):
        whole = graph.decode(tf.constant(data), channels).numpy()
        assert np.array_equal(found, whole[2:7, 3:10]), name
        assert np.array_equal(read(tf.constant(data)), found), name


@cache
def cutter(channels: int, **options: Any) -> Callable[..., tf.Tensor]:
    """Cuts a window out of a file, in a graph, as in training."""

    @partial(tf.function, autograph=False)
    def cut(data: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
        return images.decode_window(data, lambda shape: window, channels, **options)

    return cut


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("channels", [1, 3])
def test_window_of_a_jpeg_equals_decoded_and_cut(
    channels: int, subsampling: str, progressive: bool
) -> None:
    data = encode(
        noise(61, 83, 3), "JPEG", subsampling=subsampling, progressive=progressive
    )
    whole = graph.decode(tf.constant(data), channels).numpy()
    decode = cutter(channels)
    rng = np.random.default_rng(0)
    for _ in range(20):
        height, width = (int(rng.integers(1, side + 1)) for side in (61, 83))
        top = int(rng.integers(62 - height))
        left = int(rng.integers(84 - width))
        window = [top, left, height, width]
        read = decode(tf.constant(data), tf.constant(window)).numpy()
        wanted = whole[top : top + height, left : left + width]
        # libjpeg interpolates subsampled chroma between neighbours; in the window's
        # outermost columns it lacks one of them.
        exact = channels == 1 or subsampling == "4:4:4"
        columns = slice(None) if exact else slice(1, -1)
        assert np.array_equal(read[:, columns], wanted[:, columns]), window


def test_window_function_gets_height_and_width() -> None:
    for file_format in ("JPEG", "PNG"):
        seen = []

        def window_of(shape: tf.Tensor, seen: list = seen) -> list[int]:
            seen.append(tuple(np.asarray(shape)))
            return [0, 0, 1, 1]

        images.decode_window(tf.constant(encode(COLOUR, file_format)), window_of, 3)
        assert seen == [SHAPE]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM",
        b"<!DOCTYPE html><html></html>",
        encode(COLOUR, "JPEG")[:200],
        encode(COLOUR, "PNG")[:200],
        encode(COLOUR, "GIF", "P")[:50],
        encode(COLOUR, "BMP")[:100],
        encode(COLOUR, "TIFF"),
    ],
    ids=lambda data: repr(data[:10]) if isinstance(data, bytes) else None,
)
def test_corrupt_bytes_are_refused(data: bytes, channels: int) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        graph.decode(tf.constant(data), channels)
    with pytest.raises(tf.errors.InvalidArgumentError):
        images.decode_window(tf.constant(data), lambda shape: [0, 0, 1, 1], channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("window", [(0, 0, 13, 17), (12, 16, 1, 1), (2, 5, 3, 4)])
def test_cut(window: tuple[int, int, int, int], channels: int) -> None:
    image = noise(*SHAPE, channels)
    top, left, height, width = window
    wanted = image[top : top + height, left : left + width]
    assert np.array_equal(
        images.crop_to_window(tf.constant(image), tf.constant(window)), wanted
    )


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_resize_to_the_same_size_changes_nothing(channels: int) -> None:
    image = noise(*SHAPE, channels)
    assert np.array_equal(images.resize(tf.constant(image), SHAPE), image)


@pytest.mark.parametrize("size", [(6, 8), (26, 34), (1, 1), (13, 34)])
def test_resize_agrees_with_pillow(size: tuple[int, int]) -> None:
    image = smooth(*SHAPE)
    resized = images.resize(tf.constant(image), size)
    assert resized.dtype == tf.uint8
    wanted = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
    assert np.abs(resized.numpy().astype(int) - np.asarray(wanted)).max() <= 1


def test_normalise() -> None:
    pixels = noise(2, 4, 5, 3)
    mean, deviation = (120.5, 100.0, 90.0), (60.0, 55.5, 70.0)
    preprocessing = Preprocessing((4, 5), 3, 1.0, mean, deviation)
    found = preprocessing.normalise(tf.constant(pixels))
    assert found.dtype == tf.float32
    wanted = (pixels - np.array(mean)) / np.array(deviation)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


LARGE = encode(smooth(400, 600), "JPEG", subsampling=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "window, at_least, ratio",
    [
        ((0, 0, 400, 600), (50, 60), 8),
        ((0, 0, 400, 600), (51, 60), 4),
        ((0, 0, 400, 600), (200, 300), 2),
        ((0, 0, 400, 600), (201, 10), 1),
        ((0, 0, 400, 600), (10, 301), 1),
        ((0, 0, 400, 600), (1, 1), 8),
        ((3, 7, 390, 590), (100, 150), 2),
        ((201, 301, 199, 299), (50, 60), 2),
        ((399, 599, 1, 1), (1, 1), 1),
    ],
)
def test_jpeg_is_decoded_at_a_fraction(
    window: tuple[int, int, int, int], at_least: tuple[int, int], ratio: int
) -> None:
    found = images.decode_window(
        tf.constant(LARGE), lambda shape: window, 3, at_least=at_least
    ).numpy()
    top, left, height, width = window
    assert found.shape == (height // ratio, width // ratio, 3)
    assert all(
        side >= min(least, size)
        for side, least, size in zip(
            found.shape, at_least, (height, width), strict=False
        )
    )
    in_a_graph = cutter(3, at_least=at_least)(tf.constant(LARGE), tf.constant(window))
    assert np.array_equal(in_a_graph, found)
    # The mean of each block of pixels, from a place that is a multiple of the ratio.
    whole = graph.decode(tf.constant(LARGE), 3).numpy().astype(float)
    top, left = top // ratio * ratio, left // ratio * ratio
    cut = whole[
        top : top + height // ratio * ratio, left : left + width // ratio * ratio
    ]
    blocks = cut.reshape(height // ratio, ratio, width // ratio, ratio, 3)
    assert np.abs(blocks.mean((1, 3)) - found).max() <= 4


@pytest.mark.parametrize("size", [(13, 17), (26, 34), (10, 12), (7, 9), (13, 34)])
def test_quick_resize_is_plain_bilinear(size: tuple[int, int]) -> None:
    image = smooth(*SHAPE)
    found = images.resize_quickly(tf.constant(image), size)
    assert found.dtype == tf.uint8
    wanted = np.floor(tf.image.resize(image, size) + np.float32(0.5))
    assert np.array_equal(found, wanted)
    if size == SHAPE:
        assert np.array_equal(found, image)


@pytest.mark.parametrize("size", [(6, 8), (1, 1), (2, 17)])
def test_quick_resize_is_antialiased_where_it_would_leave_pixels_out(
    size: tuple[int, int],
) -> None:
    for image in (COLOUR, smooth(*SHAPE)):
        found = images.resize_quickly(tf.constant(image), size)
        assert np.array_equal(found, images.resize(tf.constant(image), size))
