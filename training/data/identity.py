"""Compares a data set with the one that a run was trained on, and resolves names."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from keras_resnet.errors import UsageError
from training.data.types import Dataset
from training.storage import filesystem

WITHOUT_PATH = ("digits", "synthetic", "tfds")  # kinds whose argument is not a path


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Returns the identity and the location of a data set, as a config stores them."""
    return {
        "place": absolute(dataset.name),
        "digest": dataset.digest,
        "examples": {name: len(split) for name, split in dataset.splits.items()},
        "labels": list(dataset.labels),
    }


def changed(
    stored: dict[str, Any], dataset: Dataset, *, but: Collection[str] = ()
) -> str | None:
    """Describes how a data set differs from a run's or sweep's; None: not at all.

    Args:
        stored: ``"dataset"`` of the run's config. If an older version wrote it without
            digests, only the numbers of images and the classes are compared.
        dataset: The data set.
        but: Splits of which only the number of images is compared.
    """
    examples = {name: len(split) for name, split in dataset.splits.items()}
    counts = (stored["examples"], len(stored["labels"]))
    if (examples, len(dataset.labels)) != counts:
        return (
            f"{stored['examples']} images of {len(stored['labels'])} classes; got "
            f"{examples} of {len(dataset.labels)}"
        )
    pairs = zip(stored["labels"], dataset.labels, strict=True)
    if renamed := [pair for pair in pairs if pair[0] != pair[1]]:
        return "the class {!r}; got {!r}".format(*renamed[0])
    before = stored.get("digest", {})
    compared = {n: d for n, d in dataset.digest.items() if n not in but}
    others = [n for n, d in compared.items() if before.get(n, d) != d]
    if not others:
        return None
    return f"the same images and labels; got others in {' and '.join(others)}"


def absolute(name: str) -> str:
    """Returns a data set's name with an absolute path, valid in any working directory.

    Args:
        name: Name as on the command line, such as ``folder:photos/``.
    """
    kind, colon, argument = name.partition(":")
    if filesystem.is_remote(argument):
        return f"{kind}:{argument.rstrip('/')}"
    path = filesystem.local(argument)
    is_path = colon and kind not in WITHOUT_PATH
    if is_path or (kind == "tfds" and os.path.isdir(path)):
        return f"{kind}:{os.path.abspath(path)}"
    return f"{kind}{colon}{argument}"


def resolved(name: str) -> str:
    """Returns ``absolute`` with symbolic links resolved, to compare places."""
    kind, _, path = absolute(name).partition(":")
    return f"{kind}:{os.path.realpath(path) if os.path.isabs(path) else path}"


def location(written: str, stored: dict[str, Any]) -> str:
    """Returns a data set's name with its absolute location, if it is still there.

    Args:
        written: The name as the user wrote it; returned if the data has been moved.
        stored: Description of the data set in a config.
    """
    place = str(stored.get("place", written))
    return written if _is_missing(place) else place


def require_location(written: str, stored: dict[str, Any], owner: Path) -> str:
    """Returns the ``location`` of a data set.

    Args:
        written: The name as the user wrote it.
        stored: Description of the data set in a config.
        owner: Folder of the run or sweep, for the message.

    Raises:
        UsageError: The data set is missing.
    """
    place = location(written, stored)
    if _is_missing(place):
        raise UsageError(
            f"the data set of {owner} must exist, got no {place!r}; if it was moved, "
            "give its new location with --dataset"
        )
    return place


def _is_missing(name: str) -> bool:
    """Returns whether a data set is a local file or folder that does not exist."""
    path = absolute(name).partition(":")[2]
    return os.path.isabs(path) and not os.path.exists(path)
