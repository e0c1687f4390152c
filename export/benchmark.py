"""Measures the speed of artifacts: ``python -m export.benchmark ARTIFACT…``."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from export.benchmarking.candidates import (
    MEASURED,
    find_candidates,
    plain_exports,
    source_runs,
)
from export.benchmarking.measurement import measure
from export.worker import ENVIRONMENT
from keras_resnet import command
from keras_resnet.errors import UsageError, require_choice, require_positive
from training.runs.run import Run
from training.storage.writing import require_writable


@dataclass(frozen=True)
class Options:
    """Compare the speed of artifacts in each installed runtime with Keras' export.

    Latency is that of one image; throughput is that of the best batch size.
    """

    artifacts: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="ARTIFACT...")
    ]
    """Version folders of SavedModels, folders of versions, .tflite or .onnx files."""
    run: tuple[Path, ...] = ()
    """Runs whose plain model.export() is measured too; if omitted, the runs that the
    artifacts were made from, where they still exist."""
    runtimes: tuple[str, ...] = ()
    """Any of tensorflow, openvino, litert, onnxruntime; if omitted, all installed."""
    batches: tuple[int, ...] = (1, 4, 16, 32)
    """Batch sizes to try for the highest throughput."""
    rounds: int = 100
    """Measured runs of each with one image; a fifth as many at each batch size."""
    out: Path | None = None
    """Folder for benchmark.json, .svg and .png."""

    def __post_init__(self) -> None:
        require_positive(self, "rounds")
        if not self.artifacts:
            raise UsageError("artifacts must name at least one path, got none")
        if not self.batches or min(self.batches) < 1:
            raise UsageError(f"batches must be at least 1, got {self.batches}")
        for runtime in self.runtimes:
            require_choice("runtime", runtime, MEASURED)


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m export.benchmark")
    if options.out is not None:
        require_writable(options.out / "benchmark.json")
    given = dict(os.environ)
    os.environ.update({**ENVIRONMENT, **os.environ})  # before TensorFlow is imported
    found = find_candidates(options.artifacts, options.runtimes)
    runs = options.run or source_runs(found)
    for path in runs:
        Run.open(path).require_complete()
    command.load_backend("tensorflow")
    from export.benchmarking import report  # imports Keras, which logs unless silenced

    with plain_exports(runs, given) as plain:
        measured = measure([*plain, *found], options.batches, options.rounds)
    print(report.describe(measured), end="")
    if options.out is not None:
        report.write(measured, options.out)
        print(f"benchmark: {options.out}/benchmark.json, .svg, .png")


if __name__ == "__main__":
    command.run(main)
