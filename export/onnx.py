"""Exports a run as an ONNX file: ``python -m export.onnx RUN --out FILE``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from export.formats.onnx import OPSET, export, require_packages
from export.formats.single_file import require_place
from keras_resnet import command
from training.runs.run import Run

__all__ = ["Options", "export", "main"]


@dataclass(frozen=True)
class Options:
    """Export the model of a run as an ONNX file."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    out: Path
    """Output file, NAME.onnx; a complete new file replaces an older one."""


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m export.onnx")
    require_place(options.out, ".onnx")
    require_packages()
    run = Run.open(options.run)
    run.require_complete()
    command.load_backend("tensorflow")
    path = export(run, options.out)
    print(f"ONNX: {path} (opset {OPSET}, {path.stat().st_size / 2**20:.2f} MiB)")


if __name__ == "__main__":
    command.run(main)
