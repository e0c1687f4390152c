"""Exports a run for TensorFlow Serving: ``python -m export.saved_model RUN``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from export.formats import versions
from export.formats.saved_model import export, require_place
from export.graph.options import GraphOptions
from keras_resnet import command
from training.recipes.checks import Range
from training.runs.run import Run
from training.storage.writing import report_write_errors

__all__ = ["Options", "export", "main"]


@dataclass(frozen=True, kw_only=True)
class Options(GraphOptions):
    """Export the model of a run as a SavedModel, in a new version folder of DIR."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    out: Path
    """Folder of the versions: DIR/1, then DIR/2, …"""
    keep: Annotated[int, Range(0)] = 0
    """Number of newest versions to keep; 0: all."""
    overwrite: bool = False
    """Replace the newest version. (TensorFlow Serving notices new numbers only.)"""


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m export.saved_model")
    run = Run.open(options.run)
    run.require_complete()
    require_place(options.out)
    command.load_backend("tensorflow")
    path = export(run, options.out, options, overwrite=options.overwrite)
    print(f"SavedModel: {path}")
    with report_write_errors(options.out):
        removed = versions.prune(options.out, options.keep, path)
    for old in removed:
        print(f"removed: {old}")


if __name__ == "__main__":
    command.run(main)
