"""An image too large to decode is refused from its file's header."""

import io
import struct
from collections.abc import Callable

import bombs
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export.graph import guard
from training.data.decoding import graph

LIMIT = 1_000_000
SCALAR = [tf.TensorSpec((), tf.string)]
pixels = tf.function(guard.pixels, SCALAR)
limited = tf.function(lambda data: guard.reject_oversized(data, LIMIT), SCALAR)


def saved(kind: str, mode: str = "RGB", **options: object) -> bytes:
    image = Image.new(mode, (37, 23), 9 if mode in "LP1" else (9, 8, 7, 6)[: len(mode)])
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def frames(count: int, mode: str = "P") -> list[Image.Image]:
    rng = np.random.default_rng(0)
    shape = (23, 37) if mode == "P" else (23, 37, len(mode))
    noise = [rng.integers(0, 256, shape, np.uint8) for _ in range(count)]
    return [Image.fromarray(x).convert(mode) for x in noise]


def animated(kind: str, mode: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    first, *others = frames(3, mode)
    first.save(buffer, kind, save_all=True, append_images=others, **options)
    return buffer.getvalue()


def far_off() -> bytes:
    """A GIF whose frame begins at 60,000, 60,000, outside of its canvas."""
    size = struct.pack("<HH", 37, 23)
    before = b"," + struct.pack("<HH", 0, 0) + size
    data = saved("GIF", "P")
    assert data.count(before) == 1
    return data.replace(before, b"," + struct.pack("<HH", 60_000, 60_000) + size)


def top_down() -> bytes:
    data = bytearray(saved("BMP"))
    data[22:26] = struct.pack("<i", -23)
    return bytes(data)


ONE = 37 * 23
FILES: dict[str, tuple[Callable[[], bytes], int]] = {
    "JPEG": (lambda: saved("JPEG"), ONE),
    "progressive JPEG": (lambda: saved("JPEG", progressive=True), ONE),
    "grey JPEG with comment": (lambda: saved("JPEG", "L", comment="a" * 300), ONE),
    "PNG": (lambda: saved("PNG"), ONE),
    "PNG of one bit": (lambda: saved("PNG", "1"), ONE),
    "PNG with palette": (lambda: saved("PNG", "P"), ONE),
    "GIF": (lambda: saved("GIF", "P"), ONE),
    "animated GIF": (lambda: animated("GIF", "P", loop=0), ONE),
    "GIF of long frames": (lambda: bombs.gif(300, 2), 300**2),
    "GIF of many frames": (lambda: bombs.gif(999, 200), 999**2),
    "GIF cut off": (lambda: animated("GIF", "P")[:-900], ONE),
    "BMP": (lambda: saved("BMP"), ONE),
    "BMP from the top": (top_down, ONE),
    "lossy WebP": (lambda: saved("WEBP"), ONE),
    "lossless WebP": (lambda: saved("WEBP", lossless=True), ONE),
    "WebP with alpha": (lambda: saved("WEBP", "RGBA"), ONE),
    "animated WebP": (lambda: animated("WEBP", "RGBA"), ONE),
    "TIFF": (lambda: saved("TIFF"), 0),
    "text": (lambda: b"<html>", 0),
    "nothing": (lambda: b"", 0),
    "PNG without header": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(20), 0),
    "GIF without blocks": (lambda: b"GIF89a", 0),
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_read_from_the_header(name: str) -> None:
    make, expected = FILES[name]
    assert int(pixels(make())) == expected


def test_what_is_small_enough_is_decoded() -> None:
    for name, (make, expected) in FILES.items():
        if expected and name != "animated WebP":  # which is refused later
            assert graph.decode(limited(make()), 3).shape[-1] == 3
    assert limited(bombs.png(1000)).numpy() == bombs.png(1000)
    with pytest.raises(tf.errors.InvalidArgumentError, match="1002001"):
        limited(bombs.png(1001))


def test_bombs_decode_to_what_they_say() -> None:
    for data in (bombs.png(700), bombs.gif(700)):
        assert graph.decode(data, 3).shape == (700, 700, 3)


BOMBS: dict[str, tuple[Callable[[], bytes], int]] = {
    "PNG": (bombs.png, 400_000_000),
    "GIF": (bombs.gif, 400_000_000),
    "GIF, frame outside of the canvas": (far_off, 60_037 * 60_023),
    "JPEG": (lambda: bombs.patched("JPEG", 65_500, 65_500), 4_290_250_000),
    "progressive JPEG": (
        lambda: bombs.patched("JPEG", 65_500, 65_500, progressive=True),
        4_290_250_000,
    ),
    "BMP": (lambda: bombs.patched("BMP", 2**31 - 1, 1), 2**31 - 1),
    "BMP of 2⁶² pixels": (lambda: bombs.patched("BMP", -1, -(2**31)), 2**62),
    "lossy WebP": (lambda: bombs.patched("WEBP", 16_383, 16_383), 16_383**2),
    "lossless WebP": (
        lambda: bombs.patched("WEBP", 16_384, 16_384, lossless=True),
        16_384**2,
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name: str) -> None:
    make, expected = BOMBS[name]
    data = make()
    assert len(data) < 500_000
    said = (
        "image must be a JPEG, PNG, GIF, BMP or WebP file of at most 1000000 pixels, "
        rf"got\W+{expected}\b"
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        limited(data)


@pytest.mark.slow
def test_a_gif_of_tiny_blocks_is_refused_in_time() -> None:
    gif = bombs.gif(30)
    start = gif.index(b"!")
    for steps, expected in ((10, 900), (graph.MAX_STEPS, 0)):
        comment = b"!\xfe" + b"\x01\x00\x02\x00\x00" * steps + b"\x00"
        assert int(pixels(gif[:start] + comment + gif[start:])) == expected
