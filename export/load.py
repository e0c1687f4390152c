"""Finds and loads artifacts, independently of the rest of this project.

Neither this module nor ``export.runtimes`` imports keras_resnet or training, so both
can be copied to any place where an artifact is used.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from export.runtimes import RUNTIMES, Array, Session, readers

KINDS = {".tflite": "TFLite", ".onnx": "ONNX"}  # by suffix

__all__ = ["Array", "Artifact", "find", "load", "newest_version", "versions"]


@dataclass(frozen=True)
class Artifact:
    """The location and kind of an exported model.

    Attributes:
        path: The file, or the version folder of a SavedModel.
        kind: ``"SavedModel"``, ``"TFLite"`` or ``"ONNX"``.
    """

    path: Path
    kind: str

    @property
    def size(self) -> int:
        """Size of the files in bytes."""
        if self.path.is_file():
            return self.path.stat().st_size
        return sum(p.stat().st_size for p in self.path.rglob("*") if p.is_file())


def find(path: Path) -> Artifact:
    """Returns the artifact at a path, or the newest version in a folder of versions.

    Raises:
        FileNotFoundError: The path has no artifact.
    """
    if path.is_file() and path.suffix in KINDS:
        return Artifact(path, KINDS[path.suffix])
    folder = newest_version(path)
    if folder is None:
        missing = "" if path.exists() else "nothing at "
        raise FileNotFoundError(
            "artifact must be a SavedModel folder, a folder of its versions, a .tflite "
            f"or an .onnx file, got {missing}{path}"
        )
    return Artifact(folder, "SavedModel")


def load(path: Path, runtime: str | None = None) -> Session:
    """Loads an artifact.

    Args:
        path: A path as for ``find``.
        runtime: A key of ``RUNTIMES``; None: the first installed one that reads it.

    Raises:
        FileNotFoundError: The path has no artifact.
        ValueError: The runtime is unknown, not installed or does not read the artifact.
    """
    artifact = find(path)
    name = choose(artifact.kind, runtime)
    return RUNTIMES[name].open(artifact.path)


def choose(kind: str, runtime: str | None = None) -> str:
    """Returns the name of the runtime that loads artifacts of a kind.

    Raises:
        ValueError: The runtime is unknown, not installed or does not read the artifact.
    """
    able = readers(kind, installed=False)
    if runtime is not None and runtime not in able:
        raise ValueError(
            f"runtime for {kind} must be one of {', '.join(able)}, got {runtime!r}"
        )
    wanted = able if runtime is None else [runtime]
    for name in wanted:
        if RUNTIMES[name].installed:
            return name
    packages = sorted({RUNTIMES[name].package.replace("_", "-") for name in wanted})
    raise ValueError(
        f"runtime for {kind} must be installed, but none of {', '.join(wanted)} is; "
        f"pip install {' or '.join(packages)}"
    )


def versions(folder: Path) -> dict[int, Path]:
    """Returns the subfolders that are named by numbers, by number, lowest first.

    As in TensorFlow Serving, ``007`` is version 7.
    """
    named = [
        p for p in folder.iterdir() if re.fullmatch("[0-9]+", p.name) and p.is_dir()
    ]
    return {int(p.name): p for p in sorted(named, key=lambda p: int(p.name))}


def newest_version(path: Path) -> Path | None:
    """Returns the SavedModel at ``path``, or the newest version in it, or None."""
    if (path / "saved_model.pb").is_file():
        return path
    found = list(versions(path).values()) if path.is_dir() else []
    return found[-1] if found else None
