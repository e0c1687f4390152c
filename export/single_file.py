"""Artifacts that are one file, with their manifest beside it."""

from pathlib import Path
from typing import Any

from export import manifest
from keras_resnet.errors import UsageError
from training.runs import Run, write_atomically, written_to


def require_suffix(out: Path, suffix: str) -> None:
    """Raises UsageError unless a file's name ends as its format's readers expect."""
    if out.suffix != suffix:
        raise UsageError(f"output file must be named *{suffix}, got {out}")


def publish(contents: bytes, out: Path, run: Run, facts: dict[str, Any]) -> None:
    """Writes an artifact, complete or not at all, and then its manifest.

    Args:
        contents: Of the file.
        out: The file.
        run: What it was made from.
        facts: What it is, for the manifest.

    Raises:
        UsageError: The disk is full, or ``out`` cannot be written to.
    """
    with written_to(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, lambda path: path.write_bytes(contents))
        manifest.write(out, {**facts, **manifest.source(run)})
