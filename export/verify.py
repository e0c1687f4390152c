"""Compares an artifact with its run: ``python -m export.verify ARTIFACT RUN``."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from export.runtimes import readers
from export.verification.compare import COMPARED, MAX_DROP, Difference
from export.verification.safety_checks import choose_runtimes, find_artifact
from export.verification.verify import verify
from keras_resnet import command
from keras_resnet.errors import Stopped, UsageError
from training.runs.run import Run

__all__ = ["Options", "main", "verify"]


@dataclass(frozen=True)
class Options:
    """Compare an artifact with its run on real test images, in separate processes.

    The files must match the manifest, the labels must be the run's, and a SavedModel
    must not contain operations that reach outside the graph. Then each installed
    runtime that reads the artifact classifies test images, in a process independent of
    this project. The exit code is 0 only if the predictions agree with the run's in all
    of them.
    """

    artifact: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="ARTIFACT")]
    """Version folder of a SavedModel, folder of versions, .tflite or .onnx file."""
    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    images: int = 500
    """Number of images of the test split to compare on, spread evenly."""
    runtimes: tuple[str, ...] = ()
    """Any of tensorflow, c-api, openvino, litert, onnxruntime; if omitted, all
    installed ones except c-api."""
    c_api: bool = False
    """Also build (with cc) and run a C program that uses TensorFlow's C library."""
    max_drop: float = MAX_DROP
    """Largest allowed loss of accuracy, in percentage points, for artifacts with fewer
    than 32 bits."""
    dataset: str | None = None
    """Current location of the run's data set, if it has moved."""


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m export.verify")
    run = Run.open(options.run)
    run.require_complete()
    if options.images < 1:
        raise UsageError(f"images must be at least 1, got {options.images}")
    found = find_artifact(options.artifact)
    runtimes = options.runtimes
    if options.c_api:
        others = runtimes or tuple(readers(found.kind))
        runtimes = tuple(dict.fromkeys((*others, "c-api")))
    choose_runtimes(found.kind, runtimes)
    # All processes use the CPU: two cannot share the memory of one GPU, which also
    # rounds products more coarsely.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    command.load_backend("tensorflow")
    result = verify(
        found.path,
        run,
        options.images,
        runtimes=runtimes,
        max_drop=options.max_drop,
        dataset=options.dataset,
    )
    _report(result, run)


def _report(result: dict[str, Any], run: Run) -> None:
    """Prints the result of ``verify``.

    Raises:
        Stopped: The artifact differs from the run by more than the tolerance.
    """
    print(f"{result['format']}: {result['path']} ({result['size'] / 2**20:.2f} MiB)")
    for name, answer in result["runtimes"].items():
        for inputs in filter(answer.__contains__, COMPARED):
            difference = Difference(**answer[inputs])
            print(f"  {name} {answer['version']}, {inputs}: {difference}")
        if "latency" in answer:
            milliseconds = 1e3 * answer["latency"]
            print(f"  {name} {answer['version']}, one image: {milliseconds:.2f} ms")
    if not result["same"]:
        raise Stopped(
            f"not the same network: {result['path']} must match {run.path} within "
            f"{result['tolerance']}"
        )
    print(f"  the same network as {run.path} (within {result['tolerance']})")


if __name__ == "__main__":
    command.run(main)
