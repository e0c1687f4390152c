"""Decodes image files in a graph, and corrects what TensorFlow decodes wrongly.

The modules ``bmp`` and ``pillow`` do the same without TensorFlow.
"""

import tensorflow as tf

from training.data.decoding import bmp
from training.data.decoding.binary import (
    head,
    number,
    numbers,
    octets,
    part,
    starts,
    substring,
)
from training.data.decoding.pillow import ANIMATED_WEBP, ANIMATION_FLAG, KINDS
from training.data.types import Tensor

BMP_FIELDS = ((28, 2), (30, 4), (46, 4))  # bits per pixel, compression, colours
# Start of image and an APP14 segment, see libjpeg's get_interesting_appn().
ADOBE = b"\xff\xd8\xff\xee\x00\x0eAdobe\x00\x64" + bytes(5)
CMYK = 4  # channels of a CMYK JPEG
MAX_STEPS = 10_000  # to the end of the first image of a GIF
ROW = 1000  # largest number of sub-blocks in a step


def decode(data: Tensor, channels: int) -> Tensor:
    """Decodes an image file, or the first of its frames, without alpha.

    Args:
        data: The bytes of a JPEG, PNG, GIF, BMP or WebP file, a scalar string.
        channels: 1 or 3.

    Returns:
        uint8 ``(H, W, channels)``.

    Raises:
        InvalidArgumentError: At run time: the file is damaged or of another kind.
    """
    return tf.cond(
        tf.io.is_jpeg(data),
        lambda: decode_jpeg(data, channels),
        lambda: decode_other(data, channels),
    )


def decode_other(data: Tensor, channels: int) -> Tensor:
    """Decodes an image file like ``decode``, except JPEG files."""
    first = head(data, 4)
    cases = [
        (starts(first, b"\x89PNG"), lambda: tf.io.decode_png(data, channels)),
        (starts(first, b"GIF8"), lambda: _to_channels(_gif(data), channels)),
        (starts(first, b"BM"), lambda: _to_channels(_bmp(data), channels)),
    ]
    image = tf.case(cases, default=lambda: _to_channels(_webp(data), channels))
    return tf.ensure_shape(image, (None, None, channels))


def decode_jpeg(
    data: Tensor,
    channels: int,
    window: Tensor | None = None,
    ratio: int = 1,
    *,
    cmyk: Tensor | None = None,
    exactly: bool = True,
) -> Tensor:
    """Decodes a JPEG, or a window of it, to uint8 ``(H, W, channels)``.

    Args:
        data: The bytes of the file, a scalar string.
        channels: 1 or 3.
        window: ``(top, left, height, width)`` at the reduced size; None: all.
        ratio: Factor by which to reduce the size, 1, 2, 4 or 8.
        cmyk: Whether the JPEG is stored as CMYK; None: determined from the bytes.
        exactly: Use the exact transform, like Pillow's libjpeg, instead of the fast
            one, whose pixels differ slightly.
    """

    def decoded(channels: int) -> Tensor:
        method = "INTEGER_ACCURATE" if exactly else "INTEGER_FAST"
        options = {"ratio": ratio, "dct_method": method}
        if window is None:
            return tf.io.decode_jpeg(data, channels, **options)
        return tf.image.decode_and_crop_jpeg(data, window, channels, **options)

    if cmyk is None:
        cmyk = tf.image.extract_jpeg_shape(data)[2] == CMYK
    if cmyk is False:
        return decoded(channels)
    data = tf.cond(cmyk, lambda: _with_adobe(data), lambda: tf.identity(data))
    if channels == 3:
        return decoded(3)
    # CMYK cannot be decoded to one channel.
    return tf.cond(cmyk, lambda: _to_channels(decoded(3), 1), lambda: decoded(1))


def _with_adobe(data: Tensor) -> Tensor:
    """Inserts Adobe's marker in a CMYK JPEG, before a marker it may already have.

    Adobe's CMYK is inverted. Pillow, djpeg, ImageMagick and OpenCV also invert files
    without the marker, but TensorFlow does not.
    """
    return tf.strings.join([ADOBE, substring(data, 2)])


def _to_channels(image: Tensor, channels: int) -> Tensor:
    return image if channels == 3 else tf.image.rgb_to_grayscale(image)


def _webp(data: Tensor) -> Tensor:
    first = head(data, 21)
    webp = starts(first, b"RIFF") & starts(first[8:], b"WEBP")
    # TensorFlow 2.21 writes all frames of an animation to memory for one frame.
    animated = starts(first[12:], b"VP8X") & (first[20] // ANIMATION_FLAG % 2 == 1)
    known = tf.debugging.Assert(webp, [f"image must be {KINDS}"])
    still = tf.debugging.Assert(~animated, [ANIMATED_WEBP])
    with tf.control_dependencies([known, still]):
        data = tf.identity(data)
    # With channels=3 instead of 0, TensorFlow rejects files with alpha.
    return tf.io.decode_image(data, 0, expand_animations=False)[..., :3]


def _gif(data: Tensor) -> Tensor:
    """Decodes the first image on its black canvas; drops transparency.

    TensorFlow decodes all images to return the first, leaves transparent pixels
    uninitialized and uses the largest image as the canvas. Therefore it gets only the
    first image, moved to the corner of the canvas and without the extensions before it,
    which define transparent pixels.
    """
    first = head(data, 13)
    right, bottom = numbers(first[6:10], 2)
    place, end = gif_image(data)
    known = tf.debugging.Assert(place > 0, [f"image must be {KINDS}"])
    with tf.control_dependencies([known]):
        left, top, width, height = numbers(part(data, place + 1, 8), 2)
    start = substring(data, 0, 13 + colour_table(first[10]))
    shown = substring(data, place + 5, end - place - 5)
    alone = tf.strings.join([start, b",", bytes(4), shown, b"\0;"])
    image = tf.io.decode_image(alone, 3, expand_animations=False)
    below = tf.maximum(bottom - top - height, 0)
    beside = tf.maximum(right - left - width, 0)
    return tf.pad(image[:height, :width], [[top, below], [left, beside], [0, 0]])


@tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
def gif_image(data: Tensor) -> tuple[Tensor, Tensor]:
    """Finds a GIF's first image by following the file's blocks.

    After the header come extensions (``!``, a label, sub-blocks) and images (``,``,
    nine bytes, a table of colours, a code size, sub-blocks). A sub-block begins with
    its length; length 0 ends a row of them. Those of one length, as nearly all of an
    image's are, are stepped over together.

    Returns:
        Where the image begins (0: there is none in ``MAX_STEPS``) and its data end.
    """
    data = octets(data)
    size = tf.size(data, tf.int64)
    data = tf.pad(data, [[0, 13]])  # it may end anywhere

    def going(position: Tensor, inside: Tensor, image: Tensor) -> Tensor:
        return (position < size) & (inside | (image == 0))

    def step(position: Tensor, inside: Tensor, image: Tensor) -> tuple[Tensor, ...]:
        first = tf.cast(data[position], tf.int64)
        found = ~inside & (first == ord(","))
        known = inside | found | (first == ord("!"))
        lengths = data[position : position + ROW * (1 + first) : 1 + first]
        other = tf.pad(lengths != data[position], [[0, 1]], constant_values=True)
        blocks = tf.where(first > 0, tf.argmax(other) * (1 + first), 1)
        table = colour_table(tf.cast(data[position + 9], tf.int64))
        ahead = tf.where(inside, blocks, tf.where(found, 11 + table, 2))
        ahead = tf.where(known, ahead, size)
        image = tf.where(found, position, image)
        return position + ahead, known & ~(inside & (first == 0)), image

    start = 13 + colour_table(tf.cast(data[10], tf.int64))
    nowhere = tf.constant(0, tf.int64)
    state = (start, tf.constant(False), nowhere)
    state = tf.while_loop(going, step, state, maximum_iterations=MAX_STEPS)
    position, inside, image = state
    image = tf.where(inside & (position < size), nowhere, image)
    return image, tf.where(inside, size, position - 1)


def colour_table(flags: Tensor) -> Tensor:
    """Returns the size in bytes of the colour table that a GIF's flags declare."""
    return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), 0)


def _bmp(data: Tensor) -> Tensor:
    """Decodes a BMP file like ``bmp.read``."""
    first = head(data, 66)
    start, size, width, height = numbers(first[10:26], 4)
    top_down = height >= 2**31  # a negative number
    height = tf.where(top_down, 2**32 - height, height)
    bits, compression, colours = (number(first, *field) for field in BMP_FIELDS)
    plain = compression == bmp.UNCOMPRESSED
    masks = tf.where(plain, bmp.MASKS[2::-1], numbers(first[54:66], 4))
    order = tf.equal(masks[:, tf.newaxis], bmp.MASKS)
    deep = tf.where(plain, (bits == 24) | (bits == 32), bits == 32)
    flat = plain & tf.reduce_any(bits == bmp.PALETTE_BITS)
    fields = plain | tf.reduce_any(compression == bmp.BIT_FIELDS)
    known = flat | (deep & fields & tf.reduce_all(tf.reduce_any(order, -1)))
    known &= (size >= bmp.HEADER_SIZE) & (width > 0) & (height > 0)
    with tf.control_dependencies([tf.debugging.Assert(known, [bmp.READ])]):
        row_bytes = (width * bits + 31) // 32 * 4
    rows = octets(data, start, height * row_bytes)
    rows = tf.reshape(rows, (height, row_bytes))
    rows = tf.cond(top_down, lambda: rows, lambda: tf.reverse(rows, [0]))

    def from_palette() -> Tensor:
        shifts = tf.cast(tf.range(8 - bits, -1, -bits), tf.uint8)
        indices = tf.bitwise.right_shift(rows[..., tf.newaxis], shifts)
        indices = tf.reshape(indices, (height, -1))[:, :width]
        indices = tf.cast(indices, tf.int32) % tf.cast(2**bits, tf.int32)
        count = tf.minimum(tf.where(colours == 0, 2**bits, colours), 2**bits)
        palette = octets(data, 14 + size, 4 * count)
        palette = tf.pad(palette, [[0, 1024 - tf.size(palette)]])
        return tf.gather(tf.reshape(palette, (256, 4))[:, 2::-1], indices)

    def from_channels() -> Tensor:
        pixels = rows[:, : width * bits // 8]
        pixels = tf.reshape(pixels, (height, width, bits // 8))
        return tf.cond(
            bits == 24,
            lambda: tf.reverse(pixels, [-1]),  # blue first; faster than a gather
            lambda: tf.gather(pixels, tf.argmax(order, -1), axis=-1),
        )

    return tf.cond(flat, from_palette, from_channels)
