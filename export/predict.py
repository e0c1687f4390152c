"""Classifies image files: ``python -m export.predict ARTIFACT IMAGES…``."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from export.prediction.classifier import BadImage, find_images, load_classifier, predict
from export.prediction.render import Format, Prediction, render
from keras_resnet import command, streams
from keras_resnet.errors import Stopped, UsageError, require_positive
from training.data.reading import MAX_PIXELS
from training.storage.writing import (
    make_folder,
    report_write_errors,
    require_writable,
    write_atomically,
)


@dataclass(frozen=True)
class Options:
    """Classify image files with an artifact of any format.

    A file that is not an image, or is too large, is reported on stderr; the other files
    are classified, and the exit code is 1.
    """

    artifact: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="ARTIFACT")]
    """Version folder of a SavedModel, folder of versions, .tflite or .onnx file."""
    images: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGES...")
    ]
    """Image files, and folders with image files at any depth (.jpg, .jpeg, .jpe,
    .jfif, .png, .gif, .bmp, .webp); names with a leading dot are hidden and skipped."""
    top: int = 1
    """Number of labels per image, most probable first."""
    format: Format = "table"
    """table, csv (one row per label) or json."""
    out: Path | None = None
    """Output file; if omitted, standard output."""
    runtime: str | None = None
    """tensorflow, c-api, openvino, litert or onnxruntime; default: first installed."""
    max_pixels: int = MAX_PIXELS
    """Largest image to decode, width times height; a SavedModel contains its own
    limit."""

    def __post_init__(self) -> None:
        require_positive(self, "top", "max_pixels")


def _classify(options: Options) -> list[Prediction | BadImage]:
    """Classifies all images and shows the progress."""
    from tqdm import tqdm

    files = find_images(options.images)
    with streams.libraries_silenced():
        classifier = load_classifier(
            options.artifact, options.runtime, options.max_pixels
        )
        answers = predict(classifier, files, options.top)
        bar = tqdm(answers, total=len(files), unit="image", disable=None, delay=2)
        return list(bar)


def _write(text: str, out: Path) -> None:
    """Writes the text to ``out``, or prints it if the file cannot be written."""
    try:
        with report_write_errors(out):
            make_folder(out.parent)
            write_atomically(
                out,  # file names need not be valid text
                lambda path: path.write_text(text, "utf-8", "backslashreplace"),
            )
    except (UsageError, OSError):
        print(text, end="", flush=True)
        raise


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m export.predict", any_names=True)
    if options.out is not None:
        if options.out.is_dir():
            raise UsageError(f"output must be a file, got the folder {options.out}")
        require_writable(options.out)
    answers = _classify(options)
    predictions = [answer for answer in answers if isinstance(answer, Prediction)]
    bad = [answer for answer in answers if isinstance(answer, BadImage)]
    for image in bad:
        print(f"bad image: {image.file}: {image.reason}", file=sys.stderr)
    text = render(predictions, options.format)
    if options.out is None:
        print(text, end="")
    else:
        _write(text, options.out)
    if bad:
        sys.stdout.flush()
        raise Stopped(f"{len(bad)} of {len(answers)} images could not be classified")


if __name__ == "__main__":
    command.run(main)
