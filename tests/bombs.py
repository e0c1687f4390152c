"""Small image files that decode to large images, made from scratch."""

import io
import struct
import zlib
from collections.abc import Iterator
from functools import cache

from PIL import Image

SIDE = 20_000


@cache
def png(side: int = SIDE) -> bytes:
    """A black PNG, one bit a pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    row = bytes(1 + (side + 7) // 8)
    deflate = zlib.compressobj(9)
    rows = b"".join(deflate.compress(row) for _ in range(side)) + deflate.flush()
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@cache
def gif(side: int = SIDE, frames: int = 1) -> bytes:
    """A GIF of black frames."""
    frame = b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02" + _lzw(side**2)
    head = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6)
    return head + b"!\xfe\x05hello\x00" + frame * frames + b";"


def _lzw(pixels: int) -> bytes:
    """Sub-blocks of that many zeros: codes of ever longer runs, then of the longest."""
    number = count = 0
    packed = bytearray()
    for code, bits in _codes(pixels):
        number |= code << count
        count += bits
        while count >= 8:
            packed.append(number & 255)
            number >>= 8
            count -= 8
    packed.append(number & 255)
    blocks = [packed[i : i + 255] for i in range(0, len(packed), 255)]
    return b"".join(bytes([len(b)]) + bytes(b) for b in blocks) + b"\x00"


def _codes(pixels: int) -> Iterator[tuple[int, int]]:
    """Codes and their bits; each makes the code of a run that is one longer known."""
    clear, end, size, bits = 4, 5, 6, 3  # code 6 is a run of 2
    yield clear, bits
    yield 0, bits
    pixels -= 1
    while pixels:
        run = min(pixels, size - 4)
        yield run + 4 if run > 1 else 0, bits
        pixels -= run
        if size < 4095:
            size += 1
            bits += size == 2**bits
    yield end, bits


def patched(kind: str, width: int, height: int, **options: object) -> bytes:
    """A small file of some kind whose header says that it is larger."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, kind, **options)
    data = bytearray(buffer.getvalue())
    if kind == "JPEG":
        start = data.find(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
        data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", width, height)
    elif options.get("lossless"):
        bits = (width - 1) | (height - 1) << 14
        data[21:25] = struct.pack("<I", bits)
    else:
        data[26:30] = struct.pack("<HH", width, height)
    return bytes(data)
