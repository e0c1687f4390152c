"""EXIF's orientation: read alike, undone alike, with TensorFlow and without."""

import io
import struct
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from data import encode, noise, smooth
from PIL import Image, ImageOps

from export.metadata.description import Description
from export.prediction.decode import decode as decode_without_tensorflow
from training.data.decoding import exif, graph, images, orientation
from training.data.preprocessing import Preprocessing

SHAPE = (40, 64)
IMAGE = smooth(*SHAPE)
PLAIN = encode(IMAGE, "JPEG", subsampling=0)


def tag(value: int, *, order: str = ">", kind: int = 3, ahead: int = 0) -> bytes:
    """A TIFF directory with the orientation behind other entries."""
    entries = [struct.pack(f"{order}HHIHH", 256 + i, 3, 1, i, 0) for i in range(ahead)]
    form = {3: "HHIHH", 4: "HHII"}[kind]
    rest = (0,) if kind == 3 else ()
    entries.append(struct.pack(f"{order}{form}", 0x112, kind, 1, value, *rest))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    count = struct.pack(f"{order}H", len(entries))
    return head + count + b"".join(entries) + bytes(4)


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_exif(tiff: bytes, *, first: bytes = b"", data: bytes = PLAIN) -> bytes:
    """Puts EXIF, behind other segments, in front of those that a JPEG has."""
    return data[:2] + first + segment(0xE1, b"Exif\0\0" + tiff) + data[2:]


def turned(value: int) -> bytes:
    return with_exif(tag(value))


HEADERS = {
    **{f"{value}": (turned(value), value) for value in range(1, 9)},
    "none": (PLAIN, 1),
    "zero": (turned(0), 1),
    "nine": (turned(9), 1),
    "intel": (with_exif(tag(6, order="<")), 6),
    "long": (with_exif(tag(6, kind=4)), 6),
    "intel long": (with_exif(tag(8, order="<", kind=4)), 8),
    "behind others": (with_exif(tag(5, ahead=4)), 5),
    "behind a comment": (with_exif(tag(7), first=segment(0xFE, b"hello")), 7),
    "behind a profile": (with_exif(tag(7), first=segment(0xE2, bytes(60_000))), 7),
    "behind XMP": (with_exif(tag(4), first=segment(0xE1, b"http://ns.adobe")), 4),
    "empty": (with_exif(b""), 1),
    "cut": (with_exif(tag(6)[:12]), 1),
    "astray": (with_exif(b"MM\0*\xff\xff\xff\xff"), 1),
    "no entries": (with_exif(b"MM\0*\0\0\0\x08\0\0\0\0\0\0"), 1),
    "png": (encode(IMAGE, "PNG"), 1),
    "text": (b"hello", 1),
    "nothing": (b"", 1),
    "only a start": (b"\xff\xd8", 1),
    "segment of no length": (b"\xff\xd8\xff\xe0\0\0\xff\xe0\0\0", 1),
}
HEADERS["behind JFIF"] = (
    PLAIN[:20] + segment(0xE1, b"Exif\0\0" + tag(3)) + PLAIN[20:],
    3,
)


@pytest.fixture(scope="module")
def read_in_a_pipeline() -> dict[str, int]:
    data = [data for data, _ in HEADERS.values()]
    found = tf.data.Dataset.from_tensor_slices(data).map(
        orientation.read_exif_orientation
    )
    return dict(zip(HEADERS, map(int, found), strict=True))


@pytest.mark.parametrize("name", HEADERS)
def test_orientation_is_read(name: str, read_in_a_pipeline: dict[str, int]) -> None:
    data, value = HEADERS[name]
    assert int(orientation.read_exif_orientation(tf.constant(data))) == value
    assert read_in_a_pipeline[name] == value


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("name", [n for n, (d, _) in HEADERS.items() if len(d) > 20])
def test_orientation_is_read_without_tensorflow(name: str) -> None:
    data, value = HEADERS[name]
    with Image.open(io.BytesIO(data)) as image:
        assert exif.read_exif_orientation(image) == value


@pytest.mark.parametrize("value", range(1, 9))
def test_image_is_turned_as_pillow_turns_it(value: int) -> None:
    image = noise(5, 8, 3)
    picture = Image.fromarray(image)
    metadata = picture.getexif()
    metadata[exif.TAG] = value
    wanted = np.asarray(ImageOps.exif_transpose(picture))
    ours = np.asarray(exif.apply_orientation(Image.fromarray(image), value))
    assert np.array_equal(ours, wanted)
    found = orientation.apply_orientation(tf.constant(image), tf.constant(value))
    assert np.array_equal(found, wanted)
    shape = orientation.shown_shape(tf.constant([5, 8]), tf.constant(value))
    assert tuple(shape.numpy()) == wanted.shape[:2]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("value", range(1, 9))
def test_window_is_one_of_the_image_as_shown(value: int, known: bool) -> None:
    data = tf.constant(turned(value))
    whole = orientation.apply_orientation(graph.decode(data, 3), value).numpy()
    told = tf.constant(value) if known else None
    read = partial(
        images.decode_window, channels=3, known=images.Known(orientation=told)
    )
    seen = []

    def window_of(shape: tf.Tensor) -> list[int]:
        seen.append(tuple(np.asarray(shape)))
        return [3, 5, 20, 17]

    assert np.array_equal(read(data, window_of), whole[3:23, 5:22])
    assert seen == [whole.shape[:2]]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("value", range(1, 9))
def test_phones_and_servers_see_the_same(value: int, channels: int) -> None:
    data = turned(value)
    preprocessing = Preprocessing((12, 16), channels, 0.875, (), ())
    served = preprocessing.decode(tf.constant(data)).numpy().astype(int)
    phone = decode_without_tensorflow(data, Description((), (12, 16), channels, 0.875))
    assert np.abs(phone - served).max() <= 4
    shown = encode(
        np.asarray(exif.apply_orientation(Image.fromarray(IMAGE), value)), "PNG"
    )
    upright = preprocessing.decode(tf.constant(shown)).numpy().astype(int)
    assert np.abs(upright - served).max() <= 8
