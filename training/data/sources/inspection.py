"""Validates image files before training."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf
from PIL import Image

from training.data.decoding import graph, pillow
from training.data.decoding.pillow import JPEGS, Header
from training.data.types import ImageInfo, fingerprint
from training.storage import filesystem

Stored = bytes | str  # an image file's contents, or its place
ReadResult = Stored | OSError  # or the error that reading it raised
UNREAD = Header("", (0, 0))


@dataclass(frozen=True)
class InspectionResult:
    """The finding about an image file.

    Attributes:
        bad: What is wrong with the file; None: it is valid.
        header: Its header.
        sha256: SHA-256 of the contents.
        fingerprint: ``types.fingerprint`` of the contents.
    """

    bad: str | None = None
    header: Header = UNREAD
    sha256: bytes = b""
    fingerprint: int = 0


def image_info(findings: Sequence[InspectionResult]) -> ImageInfo:
    """Combines the findings about the images of a split."""
    headers = [finding.header for finding in findings]
    orientations = [header.orientation for header in headers]
    sizes = [header.size for header in headers]
    heights, widths = zip(*sizes, strict=True)
    with tf.device("CPU"):
        return ImageInfo(
            orientations=tf.constant(orientations, tf.int32),
            upright=set(orientations) == {1},
            jpegs=all(header.kind in JPEGS for header in headers),
            cmyk=any(header.cmyk for header in headers),
            largest=(max(heights), max(widths)),
            sizes=tf.constant(sizes, tf.int32),
            fingerprints=tf.constant([f.fingerprint for f in findings], tf.int64),
        )


def inspect(
    image: ReadResult, max_pixels: int, *, header_only: bool = False
) -> InspectionResult:
    """Inspects the header of an image file, then checks whether TensorFlow decodes it.

    Args:
        image: Contents, place, or read error.
        max_pixels: Largest width × height to decode.
        header_only: Whether to skip decoding.
    """
    try:
        if isinstance(image, OSError):
            raise image
        data = filesystem.read(image) if isinstance(image, str) else image
        header = pillow.read_header(data)
    except Exception as error:  # Pillow raises many kinds for damaged files
        return InspectionResult(_describe_error(error))
    bad = header.refusal
    if header.pixels > max_pixels:
        bad = f"{header}, more than the {max_pixels} pixels of --max-pixels"
    if bad is None and not header_only:
        bad = _decoding_error(data, header.kind)
    sha256 = hashlib.sha256(data).digest()
    return InspectionResult(bad, header, sha256, int(fingerprint(data)))


def _decoding_error(data: bytes, kind: str) -> str | None:
    """Returns why TensorFlow cannot decode a file, preferably in Pillow's words."""
    try:
        if kind in JPEGS:
            # Reducing to 1/8 reads all data with little computation.
            tf.io.decode_jpeg(data, channels=3, ratio=8)
        else:
            graph.decode(tf.constant(data), 3)
    except tf.errors.InvalidArgumentError as error:
        return _pillow_error(data) or filesystem.reason(error).split("! ")[-1]
    return None


def _pillow_error(data: bytes) -> str | None:
    try:
        pillow.decode(data, 3)
    except Exception as error:
        return _describe_error(error)
    return None


def _describe_error(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image file"
    return filesystem.reason(error)
