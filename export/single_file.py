"""Artifacts that are one file, with their manifest beside it."""

import os
from pathlib import Path
from typing import Any

from export import manifest, versions
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
    """Checks that a file can be written, under a name that its format's readers expect.

    Raises:
        UsageError: It has another suffix, is a folder, would change a SavedModel, or
            cannot be written.
    """
    if out.suffix != suffix:
        raise UsageError(f"output file must be named *{suffix}, got {out}")
    if os.path.isdir(out):
        raise UsageError(f"output file must be a file, got the folder {out}")
    versions.require_no_version(out.parent)
    require_writable(out)


def publish(contents: bytes, out: Path, run: Run, facts: dict[str, Any]) -> None:
    """Writes an artifact, complete or not at all, and then its manifest.

    Whenever this process is killed, the file is whole and either has its own manifest
    or none.

    Args:
        contents: Of the file.
        out: The file.
        run: What it was made from.
        facts: What it is, for the manifest.

    Raises:
        UsageError: The disk is full, or ``out`` cannot be written to.
    """

    def write(draft: Path) -> None:
        draft.write_bytes(contents)
        flush(draft)
        # The old one would say of the new file that it was changed.
        manifest.location(out).unlink(missing_ok=True)

    with report_write_errors(out):
        make_folder(out.parent)
        write_atomically(out, write)
        manifest.write(out, {**facts, **manifest.source(run)})
        flush(out.parent)
