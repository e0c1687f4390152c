"""Finds artifacts for commands, and checks whether they are safe before they load."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.load import Artifact, choose, find
from export.metadata import manifest
from keras_resnet import streams
from keras_resnet.errors import Stopped, UsageError


def find_artifact(path: Path) -> Artifact:
    """Returns the artifact at a path, or the newest version in a folder of versions.

    Raises:
        UsageError: The path has no artifact.
    """
    try:
        return find(path)
    except FileNotFoundError as error:
        raise UsageError(str(error)) from None


def choose_runtimes(kind: str, names: Sequence[str]) -> list[str]:
    """Checks the names of runtimes for artifacts of a kind.

    Args:
        kind: Kind of the artifact.
        names: Names of runtimes; empty: the first installed one.

    Raises:
        UsageError: A runtime is unknown, not installed or does not read the kind.
    """
    try:
        return [choose(kind, name) for name in names] or [choose(kind)]
    except ValueError as error:
        raise UsageError(str(error)) from None


def require_safe(
    artifact: Artifact, *, manifest_needed: bool = False
) -> dict[str, Any]:
    """Checks that an artifact is unchanged since its export and only computes.

    Args:
        artifact: The artifact to check.
        manifest_needed: Whether to reject an artifact without a manifest. Other
            programs write none: their artifacts can be used, but not verified.

    Returns:
        The manifest; empty if there is none.

    Raises:
        Stopped: The files do not match the manifest, or a SavedModel does more than
            compute; TFLite and ONNX cannot.
    """
    facts: dict[str, Any] = {}
    try:
        if manifest_needed or manifest.location(artifact.path).is_file():
            manifest.check(artifact.path)
            facts = manifest.read(artifact.path)
        operations = _operations(artifact)
    except ValueError as error:
        raise Stopped(f"not loaded: {error}") from None
    if operations:
        raise Stopped(
            f"not loaded: SavedModel must only compute, got {artifact.path} with "
            f"{', '.join(operations)}"
        )
    return facts


def _operations(artifact: Artifact) -> list[str]:
    if artifact.kind != "SavedModel":
        return []
    with streams.descriptor_silenced(2):  # TensorFlow logs to stderr
        from export.verification import safety

        return safety.flagged(artifact.path)
