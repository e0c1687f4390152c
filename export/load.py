"""Loads an exported network the way its users do, knowing nothing of this project.

``python -m export.load ARTIFACT FOLDER`` classifies ``FOLDER/images.npy`` (and the
image files ``FOLDER/files/*``, where the format takes files) and writes the
probabilities beside them. It imports neither keras_resnet nor training.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray
BATCH_SIZE = 32


@dataclass(frozen=True)
class Artifact:
    """An exported network, loaded.

    Attributes:
        path: The file, or the version folder of a SavedModel.
        format: ``"SavedModel"`` or ``"TFLite"``.
        classify: Pixels 0–255, float32 ``(N, H, W, C)`` → probabilities.
        classify_files: Image files' bytes → probabilities; None where the format has
            no decoder.
    """

    path: Path
    format: str
    classify: Callable[[Array], Array]
    classify_files: Callable[[list[bytes]], Array] | None = None


def load(path: Path) -> Artifact:
    """Loads an artifact, of a folder of versions the newest.

    Raises:
        FileNotFoundError: There is none at ``path``.
    """
    if path.is_file() and path.suffix == ".tflite":
        return _tflite(path)
    folder = newest_version(path)
    if folder is None:
        raise FileNotFoundError(
            f"artifact must be a SavedModel folder, a folder of its versions or a "
            f".tflite file, got {path}"
        )
    return _saved_model(folder)


def versions(folder: Path) -> list[int]:
    """Returns the version numbers in a folder, lowest first."""
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal())


def newest_version(path: Path) -> Path | None:
    """Returns the SavedModel at ``path``, or its newest version; None if neither."""
    if (path / "saved_model.pb").is_file():
        return path
    found = versions(path) if path.is_dir() else []
    return path / str(found[-1]) if found else None


def _saved_model(path: Path) -> Artifact:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    pixels = loaded.signatures["serving_default"]
    files = loaded.signatures.get("classify_bytes")

    def classify(images: Array) -> Array:
        return np.asarray(pixels(image=tf.constant(images))["probabilities"])

    def classify_files(data: list[bytes]) -> Array:
        return np.asarray(files(image_bytes=tf.constant(data))["probabilities"])

    return Artifact(path, "SavedModel", classify, classify_files if files else None)


def _tflite(path: Path) -> Artifact:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    serve = interpreter.get_signature_runner("serving_default")

    def classify(images: Array) -> Array:
        # One at a time, as on a phone; a batch would have to be resized for.
        outputs = [serve(image=image[np.newaxis]) for image in images]
        return np.concatenate([output["probabilities"] for output in outputs])

    return Artifact(path, "TFLite", classify)


def _in_batches(classify: Callable[[Any], Array], inputs: Any) -> Array:
    """Classifies a few at a time: large networks need much memory for an image."""
    starts = range(0, len(inputs), BATCH_SIZE)
    return np.concatenate([classify(inputs[i : i + BATCH_SIZE]) for i in starts])


def main() -> None:
    """Classifies a folder's images, see the module."""
    artifact = load(Path(sys.argv[1]))
    folder = Path(sys.argv[2])
    own = sorted({"keras_resnet", "training"} & {m.split(".")[0] for m in sys.modules})
    facts = {"path": str(artifact.path), "format": artifact.format, "imported": own}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    images = np.load(folder / "images.npy")
    np.save(folder / "pixels.npy", _in_batches(artifact.classify, images))
    if artifact.classify_files is not None:
        files = [path.read_bytes() for path in sorted((folder / "files").iterdir())]
        np.save(folder / "bytes.npy", _in_batches(artifact.classify_files, files))


if __name__ == "__main__":
    main()
