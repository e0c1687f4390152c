"""Checks, without loading an artifact, whether it is safe to load."""

from typing import Any

from export import manifest
from export.load import Artifact
from keras_resnet import streams
from keras_resnet.errors import Stopped


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
