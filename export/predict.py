"""Classifies image files: ``python -m export.predict ARTIFACT IMAGES…``."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from export.description import Description, read
from export.graph_options import MAX_PIXELS
from export.load import choose, find
from export.predictions import Format, Prediction, render
from export.runtimes import RUNTIMES, Array, Session
from export.verification.safety_checks import require_safe
from export.worker import BATCH_SIZE, ENVIRONMENT
from keras_resnet import command, streams
from keras_resnet.errors import Stopped, UsageError, first_few, require_positive
from training.storage.writing import (
    make_folder,
    report_write_errors,
    require_writable,
    write_atomically,
)

SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif"),
    *(".png", ".gif", ".bmp", ".webp"),
}
Classify = Callable[[list[bytes]], Array]


@dataclass(frozen=True)
class Options:
    """Classify image files with an artifact of any format.

    A file that is not an image, or is too large, is reported on stderr; the other files
    are classified, and the exit status is 1.
    """

    artifact: tyro.conf.Positional[Path]
    """Version folder of a SavedModel, folder of versions, .tflite or .onnx file."""
    images: tyro.conf.Positional[tuple[Path, ...]]
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


def predict(options: Options) -> Iterator[Prediction | tuple[Path, str]]:
    """Yields predictions in the order of the files; for a bad file, path and reason.

    Raises:
        UsageError: The artifact, an image or the runtime does not exist.
        Stopped: The artifact has changed, is unsafe, or has no label for each class.
    """
    files = listed(options.images)
    classify, about = opened(options)
    for start in range(0, len(files), BATCH_SIZE):
        batch = files[start : start + BATCH_SIZE]
        for file, answer in zip(batch, _classified(classify, batch), strict=True):
            if isinstance(answer, str):
                yield file, answer
                continue
            if len(answer) != len(about.labels):
                raise Stopped(
                    f"{options.artifact} must have one label for each of its "
                    f"{len(answer)} classes, got {len(about.labels)}"
                )
            best = np.argsort(-answer, kind="stable")[: options.top]
            labels = tuple(about.labels[i] for i in best)
            yield Prediction(file, labels, tuple(answer[best].tolist()))


def listed(paths: tuple[Path, ...]) -> list[Path]:
    """Returns the given files and, at any depth, the image files in given folders.

    Raises:
        UsageError: A path does not exist, or there is no image.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.rglob("*"))
            files += [p for p in inside if _is_image(p, path) and p.is_file()]
        elif path.exists():
            files.append(path)
        else:
            raise UsageError(f"image must be an existing file or folder, got {path}")
    if not files:
        given = first_few(paths) or "none"
        raise UsageError(f"images must be files or folders of image files, got {given}")
    return files


def _is_image(file: Path, folder: Path) -> bool:
    """Returns whether the suffix is an image's and no part of the path is hidden.

    macOS stores hidden files next to the others, ``._x.png`` for ``x.png``.
    """
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.suffix.lower() in SUFFIXES and not hidden


def opened(options: Options) -> tuple[Classify, Description]:
    """Loads the artifact; returns a classifier of files' bytes, and the description.

    Raises:
        UsageError: The artifact or the runtime does not exist.
        Stopped: The artifact has changed, is unsafe or damaged, or has no labels.
    """
    os.environ.update({**ENVIRONMENT, **os.environ})
    try:
        artifact = find(options.artifact)
        runtime = choose(artifact.kind, options.runtime)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(str(error)) from None
    require_safe(artifact)
    try:
        about = read(artifact)
        with streams.descriptor_silenced(2):  # C++ libraries log to stderr
            session = RUNTIMES[runtime].open(artifact.path, artifact.kind)
    except Exception as error:  # each runtime raises its own types
        reason = str(error) or type(error).__name__
        raise Stopped(
            f"not loaded: {artifact.path} in {runtime}: {reason:.500}"
        ) from error
    return _classifier(session, about, options), about


def _classifier(session: Session, about: Description, options: Options) -> Classify:
    """Returns the artifact's own classifier of files, or one with Pillow."""
    if (classify_files := session.classify_files) is not None:
        return lambda data: classify_files(data)["probabilities"]
    from export.decode import decode

    def classify(data: list[bytes]) -> Array:
        pixels = [decode(content, about, options.max_pixels) for content in data]
        return session.classify(np.stack(pixels).astype(np.float32))

    return classify


def _classified(classify: Classify, files: list[Path]) -> list[Array | str]:
    """Returns the probabilities of each file, or the reason why it is bad."""
    try:
        return list(classify([file.read_bytes() for file in files]))
    except (OSError, RuntimeError, ValueError) as error:
        if len(files) == 1:
            return [" ".join(str(error).split())]
    # Classify one by one to find the bad files.
    return [answer for file in files for answer in _classified(classify, [file])]


def _with_progress(options: Options) -> list[Prediction | tuple[Path, str]]:
    from tqdm import tqdm

    count = len(listed(options.images))
    with streams.libraries_silenced():
        bar = tqdm(predict(options), total=count, unit="image", disable=None, delay=2)
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
    answers = _with_progress(options)
    predictions = [answer for answer in answers if isinstance(answer, Prediction)]
    bad = [answer for answer in answers if not isinstance(answer, Prediction)]
    for file, reason in bad:
        print(f"bad image: {file}: {reason}", file=sys.stderr)
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
