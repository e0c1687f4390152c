"""Runs exported to every format, each compared with its run in every runtime installed.

    python benchmarks/formats.py runs/lenet5 runs/alexnet runs/vgg11_bn --out artifacts

Printed are, for each, the largest difference of a probability, the share of images with
the same class, accuracy before and after, and the size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from keras_resnet.errors import Stopped, UsageError

if TYPE_CHECKING:
    from training.runs import Run

Make = Callable[["Run", Path], Path]  # exports a run into a folder


@dataclass(frozen=True)
class Options:
    """Export runs to every format and compare."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of complete runs."""
    out: Path
    """Folder for the artifacts, those of a run in one of its name."""
    images: int = 1000
    """Test images to compare on, spread evenly over the split."""


def saved_model(compute: Any) -> Make:
    """Exports a SavedModel that computes so."""

    def make(run: "Run", out: Path) -> Path:
        from export.form import Form
        from export.saved_model import export

        return export(run, out / f"saved_model-{compute}", Form(compute=compute))

    return make


def tflite(quantize: Any) -> Make:
    """Exports a TFLite file quantised so, whatever accuracy that costs."""

    def make(run: "Run", out: Path) -> Path:
        from export.tflite import export

        file = out / f"{quantize}.tflite"
        export(run, file, quantize, images=100, max_drop=100.0)
        return file

    return make


def onnx(run: "Run", out: Path) -> Path:
    """Exports an ONNX file."""
    from export.onnx import export

    return export(run, out / "model.onnx")


FORMATS: dict[str, Make] = {
    "SavedModel": saved_model("float32"),
    "SavedModel, bf16": saved_model("bf16"),
    "TFLite": tflite("none"),
    "TFLite, float16": tflite("float16"),
    "TFLite, dynamic": tflite("dynamic"),
    "TFLite, int8": tflite("int8"),
    "ONNX": onnx,
}

COLUMNS = ("run", "format", "runtime", "largest difference", "same class")
HEAD = f"| {' | '.join(COLUMNS)} | top-1, points | MiB |\n|---|---|---|---|---|---|---|"


def main() -> None:
    """Runs the command line."""
    options = tyro.cli(Options)
    from keras_resnet import command

    command.start_backend()
    from export.verify import verify
    from training.runs import Run

    print(HEAD, flush=True)
    for path in options.runs:
        run = Run.open(path)
        out = options.out / path.name
        out.mkdir(parents=True, exist_ok=True)
        for title, make in FORMATS.items():
            try:
                found = verify(make(run, out), run, options.images, max_drop=100.0)
            except (UsageError, Stopped) as error:
                print(f"| {path.name} | {title} | {error} |", flush=True)
                continue
            print(*rows(path.name, title, found), sep="\n", flush=True)


def rows(name: str, title: str, found: dict[str, Any]) -> list[str]:
    """A line of the table for each runtime."""
    return [
        f"| {name} | {title} | {runtime} | {answer['pixels']['largest']:.1e} | "
        f"{answer['pixels']['agreement']:.2%} | {answer['pixels']['accuracy']:.2%}, "
        f"{-100 * answer['pixels']['drop']:+.1f} | {found['size'] / 2**20:.2f} |"
        for runtime, answer in found["runtimes"].items()
    ]


if __name__ == "__main__":
    main()
