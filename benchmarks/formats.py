"""Exports runs to every format and compares them in every installed runtime.

    python benchmarks/formats.py runs/lenet5 runs/alexnet runs/vgg11_bn --out artifacts

It prints for each the largest difference of a probability, the share of images with the
same class, the accuracy and its change in points, and the size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from keras_resnet.errors import Stopped, UsageError

if TYPE_CHECKING:
    from training.runs.run import Run

Make = Callable[["Run", Path], Path]  # exports a run into a folder


@dataclass(frozen=True)
class Options:
    """Export runs to every format and compare."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of complete runs."""
    out: Path
    """Folder for the artifacts, with a subfolder named after each run."""
    images: int = 1000
    """Number of test images to compare, spread evenly over the split."""


def saved_model(compute: Any) -> Make:
    """Returns an export to a SavedModel with the given ``compute`` type."""

    def make(run: "Run", out: Path) -> Path:
        from export.graph.options import GraphOptions
        from export.saved_model import export

        return export(
            run, out / f"saved_model-{compute}", GraphOptions(compute=compute)
        )

    return make


def tflite(quantize: Any) -> Make:
    """Returns an export to a TFLite file, whatever accuracy ``quantize`` costs."""

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

    command.load_backend("tensorflow")
    from export.load import find
    from export.runtimes import readers
    from export.verify import verify
    from training.runs.run import Run

    print(HEAD, flush=True)
    for path in options.runs:
        run = Run.open(path)
        out = options.out / path.name
        out.mkdir(parents=True, exist_ok=True)
        for title, make in FORMATS.items():
            made = make(run, out)
            for runtime in sorted({*readers(find(made).kind)} - {"c-api"}):
                try:
                    found = verify(
                        made,
                        run,
                        options.images,
                        runtimes=(runtime,),
                        max_drop=100.0,
                    )
                    result = figures(found)
                except (UsageError, Stopped) as error:
                    result = f"{error} | | | |"
                print(f"| {path.name} | {title} | {runtime} | {result}", flush=True)


def figures(found: dict[str, Any]) -> str:
    """Returns the last columns of a line."""
    seen = found["pixels"]
    return (
        f"{seen['largest']:.1e} | {seen['agreement']:.2%} | {seen['accuracy']:.2%}, "
        f"{0.0 - seen['drop']:+.1f} | {found['size'] / 2**20:.2f} |"
    )


if __name__ == "__main__":
    main()
