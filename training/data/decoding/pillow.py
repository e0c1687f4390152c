"""Decodes image files without TensorFlow, to the same pixels as ``graph``."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile

from training.data.decoding import bmp, exif

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
JPEGS = ("JPEG", "MPO")  # MPO, from phones, is a JPEG followed by more images
KINDS = "a JPEG, PNG, GIF, BMP or WebP file"
ANIMATED_WEBP = "WebP must not be animated"
ANIMATION_FLAG = 2  # animation flag of an extended WebP


@dataclass(frozen=True)
class Header:
    """The header of an image file.

    Attributes:
        kind: Pillow's name of the format.
        size: Height and width of the image as it is shown.
        orientation: EXIF orientation, 1 to 8.
        cmyk: Whether the colours are stored as CMYK or YCCK.
        refusal: Why files of this kind are not supported; None: they are.
    """

    kind: str
    size: tuple[int, int]
    orientation: int = 1
    cmyk: bool = False
    refusal: str | None = None

    @property
    def pixels(self) -> int:
        """Height × width."""
        return self.size[0] * self.size[1]

    def __str__(self) -> str:
        height, width = self.size
        return f"{width}×{height}"


def read_header(data: bytes, formats: tuple[str, ...] | None = None) -> Header:
    """Reads the header of an image file.

    Args:
        data: Contents of the file.
        formats: Pillow's names of formats to recognise; None: all of Pillow's.

    Raises:
        UnidentifiedImageError: The file has none of these formats.
        OSError: The file is damaged. Pillow may raise other errors, too.
    """
    if data.startswith(b"BM"):
        return Header("BMP", bmp.size(data), refusal=bmp.refusal(data))
    with _open(data, formats) as image:
        kind, orientation = str(image.format), exif.read_exif_orientation(image)
        turned = exif.TURNS[orientation].transposed
        size = image.size if turned else image.size[::-1]
        cmyk = image.mode == "CMYK"
    refusal = None if kind in FORMATS + JPEGS else f"a {kind} file"
    if kind == "WEBP" and data[12:16] == b"VP8X" and data[20] & ANIMATION_FLAG:
        refusal = ANIMATED_WEBP
    return Header(kind, size, orientation, cmyk, refusal)


def decode(data: bytes, channels: int) -> Image.Image:
    """Decodes an image file like ``graph.decode`` and turns it upright.

    Args:
        data: Contents of a file whose header has no ``refusal``.
        channels: 1 or 3.

    Raises:
        OSError: The file is damaged. Pillow may raise other errors, too.
    """
    mode = {1: "L", 3: "RGB"}[channels]
    if data.startswith(b"BM"):
        return Image.fromarray(bmp.read(data)).convert(mode)
    with _open(data, FORMATS) as image:
        orientation = exif.read_exif_orientation(image)
        if channels == 1 and image.format in JPEGS:
            image.draft("L", None)  # reads the stored brightness
        if image.format == "GIF":
            # Pillow may fill the canvas around a small frame with any colour.
            box = image.tile[0][1]
            canvas = Image.new(mode, image.size)
            canvas.paste(image.convert(mode).crop(box), box)
            return canvas
        return exif.apply_orientation(_convert(image, mode), orientation)


def _open(data: bytes, formats: tuple[str, ...] | None) -> ImageFile.ImageFile:
    if data.startswith(b"GIF8"):
        data = _without_extensions(data)
    return Image.open(io.BytesIO(data), formats=formats)


def _without_extensions(data: bytes) -> bytes:
    """Returns a GIF without the extensions before its first image, b"" if it has none.

    Pillow reads some extensions differently from TensorFlow and then takes another
    image for the first.
    """
    try:
        flags = data[10]
        header = place = 13 + (3 * 2 ** (flags % 8 + 1) if flags >= 128 else 0)
        while data[place] == ord("!"):
            place += 2
            while length := data[place]:
                place += 1 + length
            place += 1
    except IndexError:
        return b""
    return data[:header] + data[place:]


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; convert() would keep the low byte
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert(mode)


@contextmanager
def without_pillow_limits() -> Iterator[None]:
    """Disables Pillow's warnings and its pixel limit, for callers with a limit."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
