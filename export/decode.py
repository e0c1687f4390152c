"""Image files to pixels where the artifact has no decoder, as training decoded them.

With Pillow, and without TensorFlow: for phones' and ONNX's runtimes.
"""

import numpy as np
from PIL import Image

from export.description import Description
from export.graph_options import MAX_PIXELS
from training.data.decoding import pillow

Array = np.ndarray


def decode(data: bytes, about: Description, max_pixels: int = MAX_PIXELS) -> Array:
    """Maps the bytes of an image file to the pixels that the network looks at.

    Args:
        data: A JPEG, PNG, GIF (its first frame), BMP or WebP file.
        about: Size, channels, and share of the image to look at.
        max_pixels: Width times height that is decoded; of a GIF, times its frames.

    Returns:
        uint8 ``(H, W, C)``.

    Raises:
        ValueError: It is no such file, is damaged, or the image is larger.
    """
    if about.channels not in (1, 3):
        raise ValueError(
            f"network of image files must have 1 or 3 channels, got {about.channels}"
        )
    try:
        with pillow.without_pillow_limits():
            header = pillow.read_header(data, pillow.FORMATS)
            if header.pixels > max_pixels:
                raise ValueError(
                    f"image must be of at most {max_pixels} pixels, got {header}"
                )
            if header.refusal:
                raise ValueError(header.refusal)
            image = pillow.decode(data, about.channels)
    except Image.UnidentifiedImageError:
        raise ValueError(f"image must be {pillow.KINDS}, got none") from None
    except ValueError:
        raise
    except Exception as error:  # Pillow's plugins raise many kinds for damaged files
        raise ValueError(f"image must be undamaged, got: {error}") from None
    pixels = np.asarray(image).reshape(image.height, image.width, about.channels)
    return resize(cut(pixels, about), about.size)


def cut(pixels: Array, about: Description) -> Array:
    """The largest centred window of the network's aspect, scaled by ``crop``."""
    sides = np.array(pixels.shape[:2], np.float32)
    wanted = np.array(about.size, np.float32)
    extent = np.round(np.float32(about.crop) * np.min(sides / wanted) * wanted)
    height, width = np.clip(extent.astype(int), 1, pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def resize(pixels: Array, size: tuple[int, int]) -> Array:
    """Resizes ``(H, W, C)`` uint8 by antialiased bilinear interpolation."""
    if pixels.shape[:2] == size:
        return pixels
    # In float: Pillow rounds 8-bit images between the two axes.
    channels = [
        np.asarray(
            Image.fromarray(channel).resize(size[::-1], Image.Resampling.BILINEAR)
        )
        for channel in np.moveaxis(pixels.astype(np.float32), -1, 0)
    ]
    return np.round(np.clip(np.stack(channels, -1), 0, 255)).astype(np.uint8)
