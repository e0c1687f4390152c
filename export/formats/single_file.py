"""Writes artifacts that are a single file, with the manifest next to it."""

import os
from pathlib import Path
from typing import Any

from export.formats import versions
from export.metadata import manifest
from keras_resnet.errors import UsageError
from training.runs.run import Run
from training.storage.writing import (
    flush,
    make_folder,
    report_write_errors,
    require_writable,
    write_atomically,
)


def require_place(out: Path, suffix: str) -> None:
    """Checks that ``out`` is writable and has the suffix that the format requires.

    Raises:
        UsageError: ``out`` has another suffix, is a folder, is inside a SavedModel, or
            is not writable.
    """
    if out.suffix != suffix:
        raise UsageError(f"output file must be named *{suffix}, got {out}")
    if os.path.isdir(out):
        raise UsageError(f"output must be a file, got the folder {out}")
    versions.require_no_version(out.parent)
    require_writable(out)


def publish(contents: bytes, out: Path, run: Run, facts: dict[str, Any]) -> None:
    """Writes an artifact atomically, and then its manifest.

    If this process is killed at any time, the file is complete and has either its own
    manifest or none.

    Args:
        contents: Content of the file.
        out: Path of the file.
        run: The run that the artifact was made from.
        facts: Facts of the artifact, for the manifest.

    Raises:
        UsageError: The disk is full, or ``out`` is not writable.
    """

    def write(draft: Path) -> None:
        draft.write_bytes(contents)
        flush(draft)
        # The old manifest would report the new file as changed.
        manifest.location(out).unlink(missing_ok=True)

    with report_write_errors(out):
        make_folder(out.parent)
        write_atomically(out, write)
        manifest.write(out, {**facts, **manifest.source(run)})
        flush(out.parent)
