"""What an artifact says about itself: its labels, and how an image file becomes pixels.

A TFLite file has it in the zip archive behind the model, an ONNX file in its
``metadata_props``, a SavedModel in its assets and its manifest.
"""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export import manifest
from export.load import Artifact

LABELS, PREPROCESSING = "labels.txt", "preprocessing.json"


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
        labels = texts[LABELS].splitlines()
        return Description.of(labels, json.loads(texts[PREPROCESSING]))
    except (KeyError, OSError, zipfile.BadZipFile) as error:
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
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )
    return dict(session.get_modelmeta().custom_metadata_map)


READERS: dict[str, Callable[[Path], dict[str, str]]] = {
    "SavedModel": _of_saved_model,
    "TFLite": _of_tflite,
    "ONNX": _of_onnx,
}
