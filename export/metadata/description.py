"""Reads and writes the description of an artifact: labels and preprocessing.

A TFLite file stores it in the zip archive behind the model, an ONNX file in its
``metadata_props``, a SavedModel in its assets and its manifest.
"""

import io
import json
import lzma
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from export.load import Artifact
from export.metadata import manifest
from export.metadata.messages import Messages, message_class
from keras_resnet.errors import UsageError
from training.data.reading import MAX_PIXELS

LABELS, PREPROCESSING = "labels.txt", "preprocessing.json"
MAX_BYTES = 2**24  # for each of the two; 22,000 ImageNet names take 600 KB
ONNX: Messages = {  # the fields of onnx.proto that are read
    "StringStringEntryProto": {"key": (1, "string"), "value": (2, "bytes")},
    "ModelProto": {"metadata_props": (14, "repeated StringStringEntryProto")},
}
# Exceptions from reading a damaged or crafted artifact: zipfile raises RuntimeError
# for an encrypted file, json raises RecursionError, a subclass of it.
DAMAGE = (
    *(KeyError, OSError, TypeError, ValueError, RuntimeError, EOFError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


@dataclass(frozen=True)
class Description:
    """Labels and preprocessing that classifying image files requires.

    Attributes:
        labels: Names of the classes, in the order of the probabilities.
        size: Height and width of the input in pixels.
        channels: Number of channels of the input.
        crop: Share of the image's shorter side that is kept, above 0 and at most 1.
    """

    labels: tuple[str, ...]
    size: tuple[int, int]
    channels: int
    crop: float

    @classmethod
    def of_run(cls, config: dict[str, Any]) -> "Description":
        """Creates the description of a run from its config.

        Raises:
            UsageError: A label has a line break, which separates labels in the file.
        """
        labels = config["dataset"]["labels"]
        for label in labels:
            if "\n" in label or "\r" in label:
                raise UsageError(
                    f"labels must not contain line breaks, got {label!r}; rename it in "
                    "the run's config.json before the export"
                )
        return cls.of(labels, config["preprocessing"])

    @classmethod
    def of(cls, labels: list[str], preprocessing: dict[str, Any]) -> "Description":
        """Creates a description from labels and a config's ``"preprocessing"``.

        Raises:
            ValueError: A value is out of range.
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
                f"size must have at most {MAX_PIXELS} pixels, and crop must be above 0 "
                f"and at most 1, got {height}×{width} and {crop}"
            )
        return cls(tuple(labels), (height, width), channels, crop)

    def files(self) -> dict[str, str]:
        """Returns the texts of the files, by name, that ``read`` reads."""
        labels = "".join(f"{label}\n" for label in self.labels)
        values = {"size": self.size, "channels": self.channels, "crop": self.crop}
        return {LABELS: labels, PREPROCESSING: json.dumps(values)}


def read(artifact: Artifact) -> Description:
    """Returns the description stored in an artifact.

    Raises:
        ValueError: The description is missing, incomplete or damaged.
    """
    try:
        texts = READERS[artifact.kind](artifact.path)
        preprocessing = json.loads(texts[PREPROCESSING])
        return Description.of(_lines(texts[LABELS]), preprocessing)
    except DAMAGE as error:
        raise ValueError(
            "artifact must contain its labels and preprocessing, but those of "
            f"{artifact.path} cannot be read: {error}; export the run again"
        ) from None


def _lines(text: str) -> list[str]:
    """Splits a file of labels, which other programs may have written or changed."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if not lines[-1]:  # the rest after the last line feed
        del lines[-1]
    if "" in lines:
        raise ValueError(f"labels must not be empty, got line {lines.index('') + 1}")
    return lines


def _text(file: IO[bytes]) -> str:
    """Reads a text of limited size and removes a byte order mark."""
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(
            f"labels and preprocessing must have at most {MAX_BYTES} bytes each"
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
    # Read without a runtime, so that any one suffices and the model is not loaded.
    from google.protobuf.message import DecodeError

    model_class = message_class("ModelProto", "keras_resnet.onnx", ONNX)
    try:
        model = model_class.FromString(path.read_bytes())
    except DecodeError:
        raise ValueError("the file is damaged or truncated") from None
    texts = {entry.key: io.BytesIO(entry.value) for entry in model.metadata_props}
    return {name: _text(texts[name]) for name in (LABELS, PREPROCESSING)}


READERS: dict[str, Callable[[Path], dict[str, str]]] = {
    "SavedModel": _of_saved_model,
    "TFLite": _of_tflite,
    "ONNX": _of_onnx,
}
