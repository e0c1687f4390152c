"""What an artifact says about itself: its labels, and how an image file becomes pixels.

A TFLite file has it in the zip archive behind the model, an ONNX file in its
``metadata_props``, a SavedModel in its assets and its manifest.
"""

import io
import json
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from export import manifest
from export.graph_options import MAX_PIXELS
from export.load import Artifact
from keras_resnet.errors import UsageError

LABELS, PREPROCESSING = "labels.txt", "preprocessing.json"
MAX_BYTES = 2**24  # of each of the two; 22,000 names of ImageNet are 600 KB
METADATA_PROPS, KEY, VALUE = 14, 1, 2  # numbers of fields in onnx.proto


# What reading a damaged or crafted artifact raises: zipfile a RuntimeError for an
# encrypted file, json a RecursionError, which is one too.
DAMAGE = (
    *(KeyError, OSError, TypeError, ValueError, RuntimeError, EOFError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


@dataclass(frozen=True)
class Description:
    """What one needs to know to classify image files.

    Attributes:
        labels: Names of the classes, in the order of the probabilities.
        size: Height and width of an image, pixels.
        channels: Of an image.
        crop: Share of the image's shorter side that is looked at.
    """

    labels: tuple[str, ...]
    size: tuple[int, int]
    channels: int
    crop: float

    @classmethod
    def of_run(cls, config: dict[str, Any]) -> "Description":
        """Reads a run's config.

        Raises:
            UsageError: A label has a line break, which its file could not hold.
        """
        labels = config["dataset"]["labels"]
        for label in labels:
            if "\n" in label or "\r" in label:
                raise UsageError(
                    f"labels must be without line breaks for an export, got {label!r}; "
                    "rename it in the run's config.json"
                )
        return cls.of(labels, config["preprocessing"])

    @classmethod
    def of(cls, labels: list[str], preprocessing: dict[str, Any]) -> "Description":
        """Reads labels and what a run's config has as ``"preprocessing"``.

        Raises:
            ValueError: The values are out of range.
        """
        height, width = preprocessing["size"]
        channels, crop = preprocessing["channels"], preprocessing["crop"]
        sizes = height, width, channels
        if not all(isinstance(n, int) and 0 < n <= MAX_PIXELS for n in sizes):
            raise ValueError(
                f"size and channels must be positive integers, got {sizes}"
            )
        if height * width > MAX_PIXELS or not 0 < crop <= 1:
            raise ValueError(
                f"size must be of at most {MAX_PIXELS} pixels and crop above 0 and at "
                f"most 1, got {height}×{width} and {crop}"
            )
        return cls(tuple(labels), (height, width), channels, crop)

    def files(self) -> dict[str, str]:
        """Returns it as texts by name, from which ``read`` makes it again."""
        labels = "".join(f"{label}\n" for label in self.labels)
        values = {"size": self.size, "channels": self.channels, "crop": self.crop}
        return {LABELS: labels, PREPROCESSING: json.dumps(values)}


def read(artifact: Artifact) -> Description:
    """Returns what an artifact says about itself.

    Raises:
        ValueError: It says nothing, or not enough.
    """
    try:
        texts = READERS[artifact.kind](artifact.path)
        preprocessing = json.loads(texts[PREPROCESSING])
        return Description.of(_lines(texts[LABELS]), preprocessing)
    except DAMAGE as error:
        raise ValueError(
            f"artifact must come with its labels and preprocessing, got "
            f"{artifact.path}: {error}"
        ) from None


def _lines(text: str) -> list[str]:
    """The labels of a file, which other programs may have written or changed."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if not lines[-1]:  # what follows the last line feed
        del lines[-1]
    if "" in lines:
        raise ValueError(f"labels must not be empty, got line {lines.index('') + 1}")
    return lines


def _text(file: IO[bytes]) -> str:
    """A text of a limited size, without a byte order mark."""
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(
            f"labels and preprocessing must be of at most {MAX_BYTES} bytes"
        )
    return content.decode("utf-8-sig")


def _of_saved_model(path: Path) -> dict[str, str]:
    with open(path / "assets" / LABELS, "rb") as file:
        labels = _text(file)
    preprocessing = manifest.read(path)["run"]["preprocessing"]
    return {LABELS: labels, PREPROCESSING: json.dumps(preprocessing)}


def _of_tflite(path: Path) -> dict[str, str]:
    texts = {}
    with zipfile.ZipFile(path) as archive:
        for name in (LABELS, PREPROCESSING):
            with archive.open(name) as file:
                texts[name] = _text(file)
    return texts


def _of_onnx(path: Path) -> dict[str, str]:
    # Read here, so that any one runtime suffices and none has to load it for this.
    model = _fields(path.read_bytes())
    entries = [
        dict(_fields(field)) for number, field in model if number == METADATA_PROPS
    ]
    texts = {entry[KEY].decode(): io.BytesIO(entry[VALUE]) for entry in entries}
    return {name: _text(texts[name]) for name in (LABELS, PREPROCESSING)}


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields a protocol buffer's fields: numbers, and what is not a varint."""
    data = io.BytesIO(message)
    while data.tell() < len(message):
        number, kind = divmod(_varint(data), 8)
        value = _varint(data) if kind in (0, 2) else 0
        size = {0: 0, 1: 8, 2: value, 5: 4}[kind]
        content = data.read(size)
        if len(content) < size:
            raise ValueError("it is cut off")
        yield number, content


def _varint(data: io.BytesIO) -> int:
    """Reads seven bits a byte, lowest first, while a byte's highest bit is set."""
    value = shift = 0
    while byte := data.read(1):
        value |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            return value
        if shift > 63:
            raise ValueError("a number is longer than 64 bits")
    raise ValueError("it is cut off")


READERS: dict[str, Callable[[Path], dict[str, str]]] = {
    "SavedModel": _of_saved_model,
    "TFLite": _of_tflite,
    "ONNX": _of_onnx,
}
