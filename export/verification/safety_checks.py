"""Whether an artifact may be loaded, found out without loading it."""

from typing import Any

from export import manifest
from export.load import Artifact
from keras_resnet import command
from keras_resnet.errors import Stopped


def require_safe(
    artifact: Artifact, *, manifest_needed: bool = False
) -> dict[str, Any]:
    """Checks that an artifact is as it was exported and that it only computes.

    Args:
        artifact: What is to be loaded.
        manifest_needed: Whether one without a manifest is refused. Other programs write
            none: what they wrote may be used, but it proves nothing.

    Returns:
        The manifest; empty where there is none.

    Raises:
        Stopped: Its files are not those of its manifest, or a SavedModel does more than
            compute; TFLite and ONNX can do no more.
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
            f"not loaded: SavedModel must compute only, got {artifact.path} with "
            f"{', '.join(operations)}"
        )
    return facts


def _operations(artifact: Artifact) -> list[str]:
    if artifact.kind != "SavedModel":
        return []
    with command.descriptor_silenced(2):  # TensorFlow says there that it starts
        from export.verification import safety

        return safety.flagged(artifact.path)
