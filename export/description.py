"""What an artifact says about itself: its labels, and how an image file becomes pixels.

A TFLite file has it in the zip archive behind the model, an ONNX file in its
``metadata_props``, a SavedModel in its assets and its manifest.
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export import manifest
from export.load import Artifact

LABELS, PREPROCESSING = "labels.txt", "preprocessing.json"
METADATA_PROPS, KEY, VALUE = 14, 1, 2  # numbers of fields in onnx.proto


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
        """Reads a run's config."""
        return cls.of(config["dataset"]["labels"], config["preprocessing"])

    @classmethod
    def of(cls, labels: list[str], preprocessing: dict[str, Any]) -> "Description":
        """Reads labels and what a run's config has as ``"preprocessing"``."""
        height, width = preprocessing["size"]
        channels, crop = preprocessing["channels"], preprocessing["crop"]
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
        labels = texts[LABELS].split("\n")[:-1]
        return Description.of(labels, json.loads(texts[PREPROCESSING]))
    except (KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"artifact must come with its labels and preprocessing, got "
            f"{artifact.path}: {error}"
        ) from None


def _of_saved_model(path: Path) -> dict[str, str]:
    labels = (path / "assets" / LABELS).read_text(encoding="utf-8")
    prepared = manifest.read(path)["run"]["preprocessing"]
    return {LABELS: labels, PREPROCESSING: json.dumps(prepared)}


def _of_tflite(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def _of_onnx(path: Path) -> dict[str, str]:
    # Read here, so that any one runtime suffices and none has to load it for this.
    model = _fields(path.read_bytes())
    entries = [
        dict(_fields(field)) for number, field in model if number == METADATA_PROPS
    ]
    return {entry[KEY].decode(): entry[VALUE].decode() for entry in entries}


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
    raise ValueError("it is cut off")


READERS: dict[str, Callable[[Path], dict[str, str]]] = {
    "SavedModel": _of_saved_model,
    "TFLite": _of_tflite,
    "ONNX": _of_onnx,
}
