"""Classifies image files with an artifact of any format."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.metadata.description import Description, read
from export.prediction.render import Prediction
from export.runtimes import RUNTIMES, Array, Session
from export.verification.safety_checks import (
    choose_runtimes,
    find_artifact,
    require_safe,
)
from export.worker import BATCH_SIZE, ENVIRONMENT
from keras_resnet import streams
from keras_resnet.errors import Stopped, UsageError, first_few
from training.data.reading import MAX_PIXELS

SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif"),
    *(".png", ".gif", ".bmp", ".webp"),
}
Classify = Callable[[list[bytes]], Array]  # contents of files → probabilities


@dataclass(frozen=True)
class Classifier:
    """An artifact that classifies image files.

    Attributes:
        path: Path of the artifact, as given.
        labels: Names of the classes.
        classify: Maps the contents of files to probabilities ``(N, classes)``.
    """

    path: Path
    labels: tuple[str, ...]
    classify: Classify


@dataclass(frozen=True)
class BadImage:
    """An image file that cannot be classified, and the reason."""

    file: Path
    reason: str


def predict(
    classifier: Classifier, files: list[Path], top: int
) -> Iterator[Prediction | BadImage]:
    """Classifies image files; yields the results in the order of the files.

    Args:
        classifier: The loaded artifact.
        files: The image files.
        top: Number of labels per image.

    Raises:
        Stopped: The artifact does not have one label for each class.
    """
    for start in range(0, len(files), BATCH_SIZE):
        batch = files[start : start + BATCH_SIZE]
        answers = _classified(classifier.classify, batch)
        for file, answer in zip(batch, answers, strict=True):
            if isinstance(answer, str):
                yield BadImage(file, answer)
                continue
            if len(answer) != len(classifier.labels):
                raise Stopped(
                    f"{classifier.path} must have one label for each of its "
                    f"{len(answer)} classes, got {len(classifier.labels)}"
                )
            best = np.argsort(-answer, kind="stable")[:top]
            labels = tuple(classifier.labels[i] for i in best)
            yield Prediction(file, labels, tuple(answer[best].tolist()))


def find_images(paths: tuple[Path, ...]) -> list[Path]:
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


def load_classifier(
    path: Path, runtime: str | None = None, max_pixels: int = MAX_PIXELS
) -> Classifier:
    """Checks and loads an artifact.

    Args:
        path: A path as for ``export.load.find``.
        runtime: Name of the runtime; None: the first installed one.
        max_pixels: Largest image to decode, unless the artifact has its own decoder.

    Raises:
        UsageError: The artifact or the runtime does not exist.
        Stopped: The artifact has changed, is unsafe or damaged, or has no labels.
    """
    os.environ.update({**ENVIRONMENT, **os.environ})
    artifact = find_artifact(path)
    (name,) = choose_runtimes(artifact.kind, () if runtime is None else (runtime,))
    require_safe(artifact)
    try:
        about = read(artifact)
        with streams.descriptor_silenced(2):  # C++ libraries log to stderr
            session = RUNTIMES[name].open(artifact.path)
    except Exception as error:  # each runtime raises its own types
        reason = str(error) or type(error).__name__
        raise Stopped(
            f"not loaded: {artifact.path} in {name}: {reason:.500}"
        ) from error
    return Classifier(path, about.labels, _classify_files(session, about, max_pixels))


def _classify_files(session: Session, about: Description, max_pixels: int) -> Classify:
    """Returns the artifact's own classifier of files, or one with Pillow."""
    if (classify_files := session.classify_files) is not None:
        return lambda data: classify_files(data)["probabilities"]
    from export.prediction.decode import decode

    def classify(data: list[bytes]) -> Array:
        pixels = [decode(content, about, max_pixels) for content in data]
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
