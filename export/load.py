"""Finds out what an artifact is and loads it, knowing nothing of this project.

Neither this module nor ``export.runtimes`` imports keras_resnet or training, so both
can be copied to wherever an artifact is used.
"""

from dataclasses import dataclass
from pathlib import Path

from export.runtimes import RUNTIMES, Array, Session, readers

KINDS = {".tflite": "TFLite", ".onnx": "ONNX"}  # by a file's suffix

__all__ = ["Array", "Artifact", "find", "load", "newest_version", "versions"]


@dataclass(frozen=True)
class Artifact:
    """An exported network, found.

    Attributes:
        path: The file, or the version folder of a SavedModel.
        kind: ``"SavedModel"``, ``"TFLite"`` or ``"ONNX"``.
    """

    path: Path
    kind: str

    @property
    def size(self) -> int:
        """Bytes of its files."""
        if self.path.is_file():
            return self.path.stat().st_size
        return sum(p.stat().st_size for p in self.path.rglob("*") if p.is_file())


def find(path: Path) -> Artifact:
    """Returns the artifact at a path, of a folder of versions the newest.

    Raises:
        FileNotFoundError: There is none.
    """
    if path.is_file() and path.suffix in KINDS:
        return Artifact(path, KINDS[path.suffix])
    folder = newest_version(path)
    if folder is None:
        raise FileNotFoundError(
            f"artifact must be a SavedModel folder, a folder of its versions, a "
            f".tflite or an .onnx file, got {path}"
        )
    return Artifact(folder, "SavedModel")


def load(path: Path, runtime: str | None = None) -> Session:
    """Loads an artifact.

    Args:
        path: What ``find`` takes.
        runtime: A key of ``RUNTIMES``; None: the first one installed that reads it.

    Raises:
        FileNotFoundError: There is no artifact.
        ValueError: The runtime is unknown, missing or doesn't read such artifacts.
    """
    artifact = find(path)
    name = choose(artifact.kind, runtime)
    return RUNTIMES[name].open(artifact.path, artifact.kind)


def choose(kind: str, runtime: str | None = None) -> str:
    """Returns the name of the runtime to load artifacts of a kind with.

    Raises:
        ValueError: The runtime is unknown, missing or doesn't read such artifacts.
    """
    able = readers(kind, installed=False)
    installed = readers(kind)
    if runtime is not None and runtime not in able:
        raise ValueError(
            f"runtime for {kind} must be one of {', '.join(able)}, got {runtime!r}"
        )
    if (runtime or installed) and (runtime is None or runtime in installed):
        return runtime or installed[0]
    wanted = [runtime] if runtime else able
    packages = sorted({RUNTIMES[name].package.replace("_", "-") for name in wanted})
    raise ValueError(
        f"runtime for {kind} must be installed, got none of {', '.join(wanted)}; "
        f"pip install {' or '.join(packages)}"
    )


def versions(folder: Path) -> list[int]:
    """Returns the version numbers in a folder, lowest first."""
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal())


def newest_version(path: Path) -> Path | None:
    """Returns the SavedModel at ``path``, or its newest version; None if neither."""
    if (path / "saved_model.pb").is_file():
        return path
    found = versions(path) if path.is_dir() else []
    return path / str(found[-1]) if found else None
