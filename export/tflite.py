"""Exports a run for phones and small devices: ``python -m export.tflite RUN``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from export.formats.single_file import require_place
from export.formats.tflite import Quantization, export
from keras_resnet import command
from training.recipes.checks import Range, check_ranges
from training.runs.run import Run

__all__ = ["Options", "Quantization", "export", "main"]


@dataclass(frozen=True)
class Options:
    """Export the model of a run as a TensorFlow Lite file.

    The accuracy on the test split is measured before and after the conversion. If it
    drops by more than --max-drop, nothing is written and the exit code is 1.
    """

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    out: Path
    """Output file, NAME.tflite; a complete new file replaces an older one."""
    quantize: Quantization = "none"
    """none: float32. float16: half-precision weights. dynamic: 8-bit weights. int8:
    8-bit weights and activations, uint8 pixels."""
    images: Annotated[int | None, Range(1)] = None
    """Number of test images for the accuracy, spread evenly; if omitted, all."""
    max_drop: float = 1.0
    """Largest allowed loss of accuracy, in percentage points."""
    dataset: str | None = None
    """Current location of the run's data set, if it has moved."""

    def __post_init__(self) -> None:
        check_ranges(self)


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m export.tflite")
    require_place(options.out, ".tflite")
    run = Run.open(options.run)
    run.require_complete()
    command.load_backend("tensorflow")
    accuracy = export(
        run,
        options.out,
        options.quantize,
        images=options.images,
        max_drop=options.max_drop,
        dataset=options.dataset,
    )
    size = options.out.stat().st_size / 2**20
    print(f"TFLite: {options.out} ({options.quantize}, {size:.2f} MiB)")
    print(
        f"  accuracy {accuracy.before:.4f} → {accuracy.after:.4f} on "
        f"{accuracy.images} test images"
    )


if __name__ == "__main__":
    command.run(main)
