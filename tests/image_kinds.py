"""Image files of every kind, and the pixels that they must become.

    python tests/image_kinds.py

prints the table of docs/formats.md. The pixels are those that the files were made from,
not what some decoder makes of them.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from data import encode, noise, smooth
from PIL import Image
from test_orientation import segment, tag, with_exif

from training.data.decoding.bmp import READ
from training.data.decoding.pillow import ANIMATED_WEBP, KINDS

HEIGHT, WIDTH = SHAPE = (19, 21)
Array = np.ndarray
RGB = smooth(*SHAPE)
GREY = smooth(*SHAPE, seed=1)[..., 0]
ALPHA = np.maximum(noise(*SHAPE, seed=6), 1)
INDICES = noise(*SHAPE, seed=2)
PALETTE = noise(256, 3, seed=3)
LEVELS = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, 1)
FINE = {"quality": 95, "subsampling": 0}


@dataclass(frozen=True)
class Kind:
    """A file of some kind.

    Attributes:
        data: The file.
        pixels: Colour ``(H, W, 3)`` or grey ``(H, W)``; None: it is refused.
        limit: By how many levels a decoded pixel may differ from these.
        refusal: Part of what is said of it.
    """

    data: bytes
    pixels: Array | None
    limit: int = 0
    refusal: str = ""

    def expected(self, channels: int) -> Array:
        """The pixels that a network of 1 or 3 channels gets, float ``(H, W, C)``."""
        assert self.pixels is not None
        pixels = self.pixels.astype(float)
        if pixels.ndim == 2:
            return np.repeat(pixels[..., np.newaxis], channels, -1)
        # ITU-R BT.601, as JPEG has it.
        return pixels if channels == 3 else pixels @ [[0.299], [0.587], [0.114]]


def _jpegs() -> dict[str, Kind]:
    plain = encode(RGB, "JPEG", **FINE)
    several = io.BytesIO()
    other = Image.fromarray(255 - RGB)
    options: Any = {"save_all": True, "append_images": [other], **FINE}
    Image.fromarray(RGB).save(several, "MPO", **options)
    grey = encode(GREY, "JPEG", quality=95)
    return {
        "JPEG": Kind(plain, RGB, 8),
        "progressive JPEG": Kind(encode(RGB, "JPEG", progressive=True, **FINE), RGB, 8),
        "grey JPEG": Kind(grey, GREY, 4),
        "JPEG of RGB": Kind(encode(RGB, "JPEG", keep_rgb=True, **FINE), RGB, 5),
        "MPO": Kind(several.getvalue(), RGB, 8),
    }


def _four_channels(image: Array) -> bytes:
    """A JPEG with Adobe's marker; Pillow stores the complement of what it is given."""
    buffer = io.BytesIO()
    Image.frombytes("CMYK", (WIDTH, HEIGHT), image.tobytes()).save(
        buffer, "JPEG", **FINE
    )
    return buffer.getvalue()


def _inks() -> dict[str, Kind]:
    ink = np.dstack([smooth(*SHAPE, seed=4), smooth(*SHAPE, seed=5)[..., 0] // 2])
    paper = (255.0 - ink[..., :3]) * (255.0 - ink[..., 3:]) / 255
    adobe = _four_channels(ink)
    start = adobe.index(b"\xff\xee")
    luma = 255 - np.asarray(Image.fromarray(ink[..., :3]).convert("YCbCr"))
    ycck = bytearray(_four_channels(np.dstack([luma, ink[..., 3]])))
    ycck[ycck.index(b"Adobe") + 11] = 2  # the transform
    return {
        "CMYK JPEG": Kind(adobe, paper, 8),
        # djpeg, ImageMagick and OpenCV take it for Adobe's, too.
        "CMYK JPEG, no marker": Kind(adobe[:start] + adobe[start + 16 :], paper, 8),
        "YCCK JPEG": Kind(bytes(ycck), paper, 10),
    }


def _turned() -> dict[str, Kind]:
    plain = encode(RGB, "JPEG", **FINE)
    exif = segment(0xE1, b"Exif\0\0" + tag(6))
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
    tables = plain.index(b"\xff\xdb")
    after = tables + 2 + struct.unpack(">H", plain[tables + 2 : tables + 4])[0]
    files = {
        "big-endian": with_exif(tag(6), data=plain),
        "little-endian": with_exif(tag(6, order="<"), data=plain),
        "behind fill bytes": plain[:2] + b"\xff" * 5 + exif + plain[2:],
        "behind XMP": plain[:2] + xmp + exif + plain[2:],
        "behind a comment": plain[:2] + segment(0xFE, b"hello") + exif + plain[2:],
        "behind a table": plain[:after] + exif + plain[after:],
        "before the scan": plain.replace(b"\xff\xda", exif + b"\xff\xda", 1),
    }
    shown = np.rot90(RGB, -1)
    return {f"EXIF, {name}": Kind(data, shown, 8) for name, data in files.items()}


def _chunk(kind: bytes, data: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + crc


def _png(
    rows: bytes, kind: int, bits: int = 8, extra: bytes = b"", interlaced: int = 0
) -> bytes:
    header = struct.pack(">2I5B", WIDTH, HEIGHT, bits, kind, 0, 0, interlaced)
    chunks = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunks + _chunk(b"IEND", b"")


def _rows(image: Array) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in image)


def _packed(image: Array, bits: int) -> Array:
    """Rows of ``bits`` a pixel, the first pixel in a byte's highest."""
    single = image[..., np.newaxis].astype(int) >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(single.reshape(HEIGHT, -1), axis=1)


def _pngs() -> dict[str, Kind]:
    grades = (slice(0, None, 8), slice(4, None, 8), slice(0, None, 4))
    grades += (slice(2, None, 4), slice(0, None, 2), slice(1, None, 2), slice(None))
    adam7 = ((0, 0), (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6))
    passes = b"".join(_rows(RGB[grades[y], :][:, grades[x]]) for y, x in adam7)
    palette = _chunk(b"PLTE", PALETTE.tobytes())
    clear = _chunk(b"tRNS", bytes(range(256)))
    deep = (GREY.astype(">u2") * 256 + ALPHA).astype(">u2")
    deep_rgb = (RGB.astype(">u2") * 256 + ALPHA[..., np.newaxis]).astype(">u2")
    one = struct.pack(">3H", *map(int, RGB[3, 4]))
    kinds = {
        "PNG": Kind(_png(_rows(RGB), 2), RGB),
        "grey PNG": Kind(_png(_rows(GREY), 0), GREY),
        "interlaced PNG": Kind(_png(passes, 2, interlaced=1), RGB),
        "PNG with alpha": Kind(_png(_rows(np.dstack([RGB, ALPHA])), 6), RGB),
        "grey PNG with alpha": Kind(_png(_rows(np.dstack([GREY, ALPHA])), 4), GREY),
        "PNG, a clear colour": Kind(_png(_rows(RGB), 2, 8, _chunk(b"tRNS", one)), RGB),
        "PNG with palette": Kind(_png(_rows(INDICES), 3, 8, palette), PALETTE[INDICES]),
        "PNG, clear palette": Kind(
            _png(_rows(INDICES), 3, 8, palette + clear), PALETTE[INDICES]
        ),
        "16-bit grey PNG": Kind(_png(_rows(deep), 0, 16), GREY),
        "16-bit PNG": Kind(_png(_rows(deep_rgb), 2, 16), RGB),
    }
    for bits in (1, 2, 4):
        indices = INDICES % 2**bits
        rows = _rows(_packed(indices, bits))
        levels = indices.astype(int) * 255 // (2**bits - 1)
        kinds[f"{bits}-bit grey PNG"] = Kind(_png(rows, 0, bits), levels)
        few = _chunk(b"PLTE", PALETTE[: 2**bits].tobytes())
        data = _png(rows, 3, bits, few)
        kinds[f"{bits}-bit PNG with palette"] = Kind(data, PALETTE[indices])
    return kinds


def _frame(
    indices: Array,
    *,
    top: int = 0,
    left: int = 0,
    clear: int | None = None,
    palette: Array | None = None,
) -> bytes:
    """A frame of a GIF; the code that clears the table keeps all codes at 9 bits."""
    codes = []
    for start in range(0, indices.size, 128):
        codes += [256, *indices.ravel()[start : start + 128].tolist()]
    bits = np.array([*codes, 257])[:, np.newaxis] >> np.arange(9) & 1
    packed = np.packbits(bits.astype(bool), bitorder="little").tobytes()
    blocks = [packed[i : i + 255] for i in range(0, len(packed), 255)]
    flags, colours = (0, b"") if palette is None else (0x87, palette.tobytes())
    height, width = indices.shape
    shown = b"!\xf9\x04" + bytes([clear is not None, 0, 0, clear or 0, 0])
    head = b"," + struct.pack("<4HB", left, top, width, height, flags)
    data = b"".join(bytes([len(block)]) + block for block in blocks)
    return shown + head + colours + b"\x08" + data + b"\0"


def _gif(*frames: bytes, palette: Array = PALETTE, background: int = 9) -> bytes:
    head = struct.pack("<2H3B", WIDTH, HEIGHT, 0xF7, background, 0)
    comment = b"!\xfe\x05hello\0"
    body = head + palette.tobytes() + comment + b"".join(frames)
    return b"GIF89a" + body + b";"


def _gifs() -> dict[str, Kind]:
    colour = PALETTE[INDICES]
    clear, small = int(INDICES[3, 4]), INDICES[:13, :12]
    framed = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    framed[2:15, 3:15] = PALETTE[small]
    outside = np.zeros((23, 27, 3), np.uint8)
    outside[10:, 15:] = PALETTE[small]
    whole, other = _frame(INDICES), _frame(255 - INDICES)
    first = _frame(small, top=2, left=3, clear=clear)
    own = _gif(_frame(INDICES, palette=PALETTE), palette=LEVELS)
    larger = _frame(np.zeros((300, 300), np.uint8))
    empty = b"!\x01\0"  # an extension, behind which Pillow takes the "," for a length
    return {
        "GIF": Kind(_gif(whole), colour),
        "GIF of grey levels": Kind(_gif(whole, palette=LEVELS), INDICES),
        "GIF, frame's palette": Kind(own, colour),
        "animated GIF": Kind(_gif(whole, other), colour),
        "GIF, large later frame": Kind(_gif(whole, larger), colour),
        "GIF, cut in a later frame": Kind(_gif(whole, other)[:-300], colour),
        "GIF, cut behind its first frame": Kind(_gif(whole)[:-2], colour),
        "GIF, empty extension": Kind(_gif(empty, whole, larger), colour),
        "transparent GIF": Kind(_gif(_frame(INDICES, clear=clear), other), colour),
        "GIF, small first frame": Kind(
            _gif(_frame(small, top=2, left=3), whole), framed
        ),
        "transparent GIF, small frame": Kind(_gif(first), framed),
        "GIF, frame beyond the canvas": Kind(
            _gif(_frame(small, top=10, left=15)), outside
        ),
    }


def _bmp(
    rows: Array,
    bits: int,
    *,
    compression: int = 0,
    header: int = 40,
    masks: bytes = b"",
    palette: Array | None = None,
    top_down: bool = False,
) -> bytes:
    """A BMP of rows from the top, which are padded and, unless ``top_down``, turned."""
    rows = np.pad(rows.reshape(HEIGHT, -1), ((0, 0), (0, -rows[0].size % 4)))
    pixels = (rows if top_down else rows[::-1]).tobytes()
    fields = (header, WIDTH, -HEIGHT if top_down else HEIGHT, 1, bits, compression)
    info = struct.pack("<Iii2HI", *fields) + struct.pack("<5I", len(pixels), 0, 0, 0, 0)
    info = (info + masks).ljust(header, b"\0")
    if palette is not None:
        info += np.pad(palette[:, ::-1], ((0, 0), (0, 1))).tobytes()
    head = struct.pack("<IHHI", 14 + len(info) + len(pixels), 0, 0, 14 + len(info))
    return b"BM" + head + info + pixels


def _bmps() -> dict[str, Kind]:
    blue_first = RGB[..., ::-1]
    kinds = {
        "24-bit BMP": Kind(_bmp(blue_first, 24), RGB),
        "BMP from the top": Kind(_bmp(blue_first, 24, top_down=True), RGB),
        "BMP of version 5": Kind(_bmp(blue_first, 24, header=124), RGB),
        "BMP, two bytes behind it": Kind(_bmp(blue_first, 24) + bytes(2), RGB),
        "BMP, 100 bytes behind it": Kind(_bmp(blue_first, 24) + bytes(100), RGB),
        "32-bit BMP": Kind(_bmp(np.dstack([blue_first, ALPHA]), 32), RGB),
    }
    colours = {**dict(zip("RGB", np.moveaxis(RGB, -1, 0), strict=True)), "A": ALPHA}
    for order in ("BGRA", "RGBA", "ABGR", "ARGB", "GBAR"):
        masks = struct.pack("<4I", *(255 << 8 * order.index(c) for c in "RGBA"))
        rows = np.dstack([colours[c] for c in order])
        for header in (40, 56, 108, 124):
            data = _bmp(rows, 32, compression=3, header=header, masks=masks)
            kinds[f"32-bit BMP {order}, header of {header}"] = Kind(data, RGB)
    for bits in (1, 4, 8):
        indices, palette = INDICES.astype(int) % 2**bits, PALETTE[: 2**bits]
        data = _bmp(_packed(indices, bits), bits, palette=palette)
        kinds[f"{bits}-bit BMP with palette"] = Kind(data, palette[indices])
    kinds["grey BMP"] = Kind(_bmp(GREY, 8, palette=LEVELS), GREY)
    turned = _bmp(255 - GREY, 8, palette=LEVELS[::-1])
    kinds["grey BMP, white first"] = Kind(turned, GREY)
    five = [RGB[..., i].astype(np.uint16) >> 3 << 10 - 5 * i for i in range(3)]
    rows = (five[0] | five[1] | five[2]).view(np.uint8)
    core = b"BM" + struct.pack("<IHHI", 26, 0, 0, 26)
    core += struct.pack("<I4H", 12, WIDTH, HEIGHT, 1, 24)
    rgb10 = struct.pack("<3I", 1023 << 20, 1023 << 10, 1023)
    run = _bmp(INDICES, 8, compression=1, palette=PALETTE)
    deep = np.zeros((*SHAPE, 4), np.uint8)
    refused = {
        "16-bit BMP": _bmp(rows, 16),
        "BMP of 10 bits a channel": _bmp(deep, 32, compression=3, masks=rgb10),
        "run-length encoded BMP": run,
        "OS/2 BMP": core + _bmp(blue_first, 24)[54:],
    }
    return kinds | {name: Kind(x, None, refusal=READ) for name, x in refused.items()}


def _webps() -> dict[str, Kind]:
    clear = np.dstack([RGB, ALPHA])
    grey = np.repeat(GREY[..., np.newaxis], 3, -1)
    moving = {"save_all": True, "append_images": [Image.fromarray(255 - RGB)]}
    both = {"lossless": True, **moving}
    return {
        "lossy WebP": Kind(encode(grey, "WEBP", quality=98), GREY, 6),
        "lossless WebP": Kind(encode(RGB, "WEBP", lossless=True), RGB),
        "WebP with alpha": Kind(encode(clear, "WEBP", lossless=True), RGB),
        "lossy WebP with alpha": Kind(
            encode(np.dstack([grey, ALPHA]), "WEBP", quality=98), GREY, 6
        ),
        "animated WebP": Kind(encode(RGB, "WEBP", **both), None, refusal=ANIMATED_WEBP),
    }


def _others() -> dict[str, Kind]:
    jxl = b"\xff\x0a" + bytes(40)
    files = {"TIFF": encode(RGB, "TIFF"), "JPEG XL": jxl, "text": b"hello"}
    return {name: Kind(data, None, refusal=KINDS) for name, data in files.items()}


GROUPS = {
    "JPEG: baseline, progressive, grey, RGB; MPO (its first image)": _jpegs(),
    "JPEG of CMYK or YCCK, with Adobe's marker or without": _inks(),
    "JPEG with an EXIF orientation, wherever it is before the scan": _turned(),
    "PNG: 1 to 16 bits, grey, colour, palette, alpha, interlaced": _pngs(),
    "GIF: also transparent, animated, its first frame not the canvas": _gifs(),
    "BMP, uncompressed, of 1, 4, 8 (palette), 24 or 32 bits, any order": _bmps(),
    "WebP: lossy, lossless, with alpha": _webps(),
    "anything else: TIFF, JPEG XL, …": _others(),
}
FILES = {name: kind for group in GROUPS.values() for name, kind in group.items()}


def main() -> None:
    """Prints the table: largest differences in colour and grey, or the refusals."""
    from test_image_kinds import WAYS

    print("| file |", " | ".join(WAYS), "|\n|---|" + "---|" * len(WAYS))
    for title, group in GROUPS.items():
        cells = []
        for way in WAYS.values():
            most = [0.0, 0.0]
            for kind in (kind for kind in group.values() if kind.pixels is not None):
                for i, channels in enumerate((3, 1)):
                    expected = kind.expected(channels)
                    found = way(kind.data, channels, expected.shape[:2])
                    most[i] = max(most[i], np.abs(found - expected).max())
            cells.append("{:.0f}, {:.0f}".format(*most))
        if any(kind.pixels is not None for kind in group.values()):
            print(f"| {title} |", " | ".join(cells), "|")
        for words in sorted({kind.refusal for kind in group.values()} - {""}):
            names = [name for name, kind in group.items() if kind.refusal == words]
            print(f"| {', '.join(names)} | refused: `{words}` | the same | the same |")


if __name__ == "__main__":
    main()
