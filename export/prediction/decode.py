"""Decodes image files as training does, for artifacts without a decoder.

It uses Pillow instead of TensorFlow, for the runtimes of phones and of ONNX.
"""

import numpy as np
from PIL import Image

from export.metadata.description import Description
from training.data.decoding import pillow
from training.data.reading import MAX_PIXELS

Array = np.ndarray


def decode(data: bytes, about: Description, max_pixels: int = MAX_PIXELS) -> Array:
    """Decodes an image file to the network's input.

    Args:
        data: Content of a JPEG, PNG, GIF (its first frame), BMP or WebP file.
        about: Size, channels and crop of the input.
        max_pixels: Largest width times height.

    Returns:
        uint8 pixels ``(H, W, C)``.

    Raises:
        ValueError: The file has another format, is damaged or exceeds ``max_pixels``.
    """
    if about.channels not in (1, 3):
        raise ValueError(
            f"input of image files must have 1 or 3 channels, got {about.channels}"
        )
    try:
        with pillow.without_pillow_limits():
            header = pillow.read_header(data, pillow.FORMATS)
            if header.pixels > max_pixels:
                raise ValueError(
                    f"image must be at most {max_pixels} pixels, got {header}"
                )
            if header.refusal:
                raise ValueError(header.refusal)
            image = pillow.decode(data, about.channels)
    except Image.UnidentifiedImageError:
        raise ValueError(f"image must be {pillow.KINDS}, got other data") from None
    except ValueError:
        raise
    except Exception as error:  # Pillow raises many types for damaged files
        raise ValueError(
            f"image must be undamaged, but decoding it failed: {error}"
        ) from None
    pixels = np.asarray(image).reshape(image.height, image.width, about.channels)
    return resize(cut(pixels, about), about.size)


def cut(pixels: Array, about: Description) -> Array:
    """Returns the largest centred window of the input's aspect, scaled by ``crop``."""
    sides = np.array(pixels.shape[:2], np.float32)
    wanted = np.array(about.size, np.float32)
    extent = np.round(np.float32(about.crop) * np.min(sides / wanted) * wanted)
    height, width = np.clip(extent.astype(int), 1, pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def resize(pixels: Array, size: tuple[int, int]) -> Array:
    """Resizes uint8 ``(H, W, C)`` by antialiased bilinear interpolation."""
    if pixels.shape[:2] == size:
        return pixels
    # As floats, because Pillow rounds 8-bit images between the two axes.
    channels = [
        np.asarray(
            Image.fromarray(channel).resize(size[::-1], Image.Resampling.BILINEAR)
        )
        for channel in np.moveaxis(pixels.astype(np.float32), -1, 0)
    ]
    return np.round(np.clip(np.stack(channels, -1), 0, 255)).astype(np.uint8)
