"""Decodes BMP files without TensorFlow and Pillow.

Both decode only some BMP files, and TensorFlow reads palette indices as grey levels
and swaps the colours of some files with 32 bits per pixel. ``graph`` decodes the same
files to the same pixels in a graph.
"""

import struct
from typing import Any

import numpy as np

# From header version 3 (40 bytes) on, the offsets of the fields do not change.
HEADER_SIZE = 40
PALETTE_BITS = (1, 4, 8)
UNCOMPRESSED, BIT_FIELDS = 0, (3, 6)  # 6 also has an alpha mask
MASKS = tuple(255 << 8 * byte for byte in range(4))
READ = "BMP must be an uncompressed Windows BMP with a palette or 8 bits per channel"


def size(data: bytes) -> tuple[int, int]:
    """Returns height and width according to the header.

    Raises:
        OSError: The header is cut off.
    """
    _, size, width, height, *_ = _header(data)
    if size < HEADER_SIZE:
        width, height = struct.unpack_from("<2H", data, 18)
    return abs(height), width


def refusal(data: bytes) -> str | None:
    """Returns why a BMP file is not supported; None: it is, unless it is damaged.

    Raises:
        OSError: The header is cut off.
    """
    _, size, width, height, bits, compression, _, masks = _header(data)
    if compression == UNCOMPRESSED:
        known = bits in (*PALETTE_BITS, 24, 32)
    else:
        known = compression in BIT_FIELDS and bits == 32 and set(masks) <= set(MASKS)
    return None if known and size >= HEADER_SIZE and width > 0 != height else READ


def read(data: bytes) -> np.ndarray:
    """Decodes a BMP file for which ``refusal`` returns None; drops alpha.

    Returns:
        uint8 ``(H, W, 3)``.

    Raises:
        OSError: The file is cut off.
    """
    start, size, width, height, bits, _, colours, masks = _header(data)
    row_bytes = (width * bits + 31) // 32 * 4
    rows = np.frombuffer(data[start:][: abs(height) * row_bytes], np.uint8)
    if rows.size < abs(height) * row_bytes:
        raise OSError("image file is truncated")
    rows = rows.reshape(abs(height), row_bytes)[:: 1 if height < 0 else -1]
    if bits in PALETTE_BITS:
        shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
        indices = rows[..., np.newaxis] >> shifts & 2**bits - 1
        palette = np.zeros((256, 4), np.uint8)
        stored = data[14 + size :][: 4 * min(colours or 2**bits, 2**bits)]
        palette.ravel()[: len(stored)] = np.frombuffer(stored, np.uint8)
        return palette[indices.reshape(abs(height), -1)[:, :width], 2::-1]
    pixels = rows[:, : width * bits // 8].reshape(abs(height), width, bits // 8)
    return pixels[..., [MASKS.index(mask) for mask in masks]]


def _header(data: bytes) -> tuple[Any, ...]:
    """Returns the fields of the header and the masks of red, green and blue.

    Start of the pixels, header size, width, height, bits, compression, colours, masks.
    """
    try:
        fields = struct.unpack_from("<10xIIii2xHI12xI", data)
        plain = fields[5] == UNCOMPRESSED
        masks = MASKS[2::-1] if plain else struct.unpack_from("<3I", data, 54)
    except struct.error:
        raise OSError("image file is truncated") from None
    return (*fields, masks)
