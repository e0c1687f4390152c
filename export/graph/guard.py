"""Rejects oversized images inside the graph, based on the headers of their files.

A file of a few kilobytes can contain an image of gigabytes. TensorFlow's decoders offer
no limit, so an exported graph checks the size first.
"""

import tensorflow as tf

from training.data.decoding import bmp
from training.data.decoding.binary import head, number, numbers, starts, substring
from training.data.decoding.graph import gif_image
from training.data.decoding.pillow import KINDS
from training.data.types import Tensor


def reject_oversized(data: Tensor, max_pixels: int) -> Tensor:
    """Returns the content of an image file if the image is small enough to decode.

    Args:
        data: Content of a JPEG, PNG, GIF, BMP or WebP file, a scalar string.
        max_pixels: Largest width times height; of a GIF, those of its first frame and
            of the canvas count.

    Raises:
        InvalidArgumentError: At run time: the image is larger, or the file is no image.
    """
    count = pixels(data)
    message = f"image must be {KINDS} of at most {max_pixels} pixels, got"
    allowed = tf.debugging.Assert((count > 0) & (count <= max_pixels), [message, count])
    with tf.control_dependencies([allowed]):
        return tf.identity(data)


def pixels(data: Tensor) -> Tensor:
    """Returns how many pixels a file decodes to, int64; 0 if it is no image."""
    first = head(data, 30)
    webp = starts(first, b"RIFF") & starts(first[8:], b"WEBP")
    cases = [
        (starts(first, b"\xff\xd8\xff"), lambda: _jpeg(data)),
        (starts(first, b"\x89PNG\r\n\x1a\n"), lambda: _png(first)),
        (starts(first, b"GIF8"), lambda: _gif(data)),
        (starts(first, b"BM"), lambda: _bmp(first)),
        (webp, lambda: _webp(first)),
    ]
    return tf.case(cases, default=lambda: tf.constant(0, tf.int64))


def _jpeg(data: Tensor) -> Tensor:
    shape = tf.image.extract_jpeg_shape(data, output_type=tf.int64)
    return shape[0] * shape[1]


def _png(head: Tensor) -> Tensor:
    # The header chunk must come first; libpng rejects other files.
    width, height = (number(tf.reverse(head[i : i + 4], [0]), 0, 4) for i in (16, 20))
    return tf.where(starts(head[12:], b"IHDR"), _product(width, height), 0)


def _bmp(head: Tensor) -> Tensor:
    width, height = (number(head, i, 4) for i in (18, 22))
    # A negative height, in two's complement, means that rows are stored top down.
    height = tf.where(height < 2**31, height, 2**32 - height)
    old = number(head, 18, 2) * number(head, 20, 2)  # the decoder rejects it
    size = number(head, 14, 4)
    return tf.where(size < bmp.HEADER_SIZE, old, _product(width, height))


def _webp(head: Tensor) -> Tensor:
    """Handles lossy, lossless and extended files (RFC 9649, sections 2.5 to 2.7)."""
    lossy = (number(head, 26, 2) % 2**14, number(head, 28, 2) % 2**14)
    packed = number(head, 21, 4)
    lossless = (packed % 2**14 + 1, packed // 2**14 % 2**14 + 1)
    extended = (number(head, 24, 3) + 1, number(head, 27, 3) + 1)
    kinds = ((b"VP8 ", lossy), (b"VP8L", lossless), (b"VP8X", extended))
    found = [
        tf.where(starts(head[12:], kind), _product(*size), 0) for kind, size in kinds
    ]
    return tf.add_n(found)


def _product(width: Tensor, height: Tensor) -> Tensor:
    """Returns width times height, or more than any limit where it would overflow."""
    most = tf.constant(2**31, tf.int64)
    return tf.minimum(width, most) * tf.minimum(height, most)


def _gif(data: Tensor) -> Tensor:
    """Returns the area of the canvas, enlarged if the first image exceeds it."""
    place, _ = gif_image(data)
    width, height = numbers(head(data, 10)[6:], 2)
    left, top, wide, high = numbers(head(substring(data, place + 1, 8), 8), 2)
    area = tf.maximum(width, left + wide) * tf.maximum(height, top + high)
    return tf.where(place > 0, area, 0)
