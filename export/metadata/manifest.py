"""Reads, writes and checks manifests: an artifact's facts, source and file hashes.

The manifest of a SavedModel is inside its version folder, so that both appear at once;
TensorFlow Serving ignores the names that it does not know. The manifest of a single
file, for example ``model.tflite``, is next to it: ``model.tflite.manifest.json``.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.storage.writing import write_json

if TYPE_CHECKING:
    from training.runs.run import Run

NAME = "manifest.json"
MAX_BYTES = 2**24  # limit on the size of a manifest


def location(path: Path) -> Path:
    """Returns the path of an artifact's manifest."""
    return path / NAME if path.is_dir() else path.with_name(f"{path.name}.{NAME}")


def write(path: Path, facts: dict[str, Any]) -> None:
    """Writes the manifest of a complete artifact.

    Args:
        path: A version folder of a SavedModel, or a file.
        facts: Facts of the artifact as JSON values; the files' sizes and hashes follow.
    """
    files = {name: _describe(file) for name, file in sorted(_files(path).items())}
    write_json(location(path), {**facts, "files": files})


def read(path: Path) -> dict[str, Any]:
    """Returns an artifact's manifest.

    Raises:
        ValueError: The manifest is missing or invalid.
    """
    target = location(path)
    try:
        with open(target, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        manifest = json.loads(content)
    except FileNotFoundError:
        raise ValueError(
            f"artifact must have a manifest, but there is no {target}; restore it or "
            "export the run again"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"manifest must be JSON, got {target}: {error}") from None
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict):
        raise ValueError(f"manifest must list files, got none in {target}")
    return dict(manifest)


def fingerprint(path: Path) -> dict[str, str]:
    """Returns the absolute ``path`` of an artifact's manifest and its ``sha256``.

    Equal values mean the same artifact, provided that its files match its manifest.
    """
    target = location(path).resolve()
    return {"path": str(target), "sha256": _describe(target)["sha256"]}


def is_rounded(facts: dict[str, Any]) -> bool:
    """Returns whether the artifact of a manifest computes with fewer than 32 bits."""
    narrow = facts.get("compute", "float32") != "float32"
    return narrow or facts.get("quantize", "none") != "none"


def check(path: Path) -> None:
    """Checks that the files of an artifact match its manifest exactly.

    Args:
        path: A version folder of a SavedModel, or a file.

    Raises:
        ValueError: The manifest is missing, or a file is changed, missing or added; the
            message is one line that names the file.
    """
    listed, found = read(path)["files"], _files(path)
    if path.is_file() and len(listed) == 1:  # both may have been renamed
        listed = dict.fromkeys(found, *listed.values())
    for name in sorted(listed.keys() | found.keys()):
        if name not in found:
            raise ValueError(
                f"artifact must be complete, but {path} lacks {name}; export the run "
                "again"
            )
        if name not in listed:
            raise ValueError(
                f"artifact must be as exported, but {path} also contains {name}; "
                "remove it or export the run again"
            )
        if listed[name] != _describe(found[name]):
            raise ValueError(
                f"{name} of {path} must be as exported, but its content differs from "
                "the manifest; export the run again"
            )


def source(run: "Run") -> dict[str, Any]:
    """Returns a run's part of a manifest: the model, its training and evaluation."""
    from training.experiment.config import PACKAGES  # imports TensorFlow

    config = run.config
    return {
        "run": {
            "path": str(run.path),
            "model": config["model"],
            "dataset": config["dataset"],
            "preprocessing": config["preprocessing"],
            "precision": config["device"]["precision"],
            "seed": config["seed"],
            "versions": config["versions"],
            "evaluation": run.evaluated,
        },
        "versions": {name: p.__version__ for name, p in PACKAGES.items()},
    }


def _files(path: Path) -> dict[str, Path]:
    """Returns the artifact's files by their relative names, without the manifest."""
    if path.is_file():
        return {path.name: path}
    # Links to folders count too: loaders follow them, but no manifest lists them.
    inside = (p for p in path.rglob("*") if p.is_file() or p.is_symlink())
    return {p.relative_to(path).as_posix(): p for p in inside if p != path / NAME}


def _describe(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return {"size": file.stat().st_size, "sha256": digest}
