"""Whether a data set is the one that a run was trained on, and where that is."""

import os
from typing import Any

from keras_resnet.errors import UsageError
from training.data import places
from training.data.datasets import Dataset
from training.runs import Run


def changed(stored: dict[str, Any], dataset: Dataset) -> str | None:
    """Returns what a data set has other than a run's; None: nothing.

    Args:
        stored: ``"dataset"`` of the run's config. Where it has no digests, from an
            older version, the numbers of images and the classes are compared.
        dataset: The data set.
    """
    examples = {name: len(split) for name, split in dataset.splits.items()}
    if (examples, list(dataset.labels)) != (stored["examples"], stored["labels"]):
        return (
            f"{stored['examples']} images of {len(stored['labels'])} classes; got "
            f"{examples} of {len(dataset.labels)}"
        )
    before = stored.get("digest", {})
    others = [n for n, d in dataset.digest.items() if before.get(n, d) != d]
    if not others:
        return None
    return f"the same images and labels; got others in the split {' and '.join(others)}"


def absolute(name: str) -> str:
    """Returns a data set's name with its place as one that is the same from anywhere.

    Args:
        name: As of the command line, say ``folder:photos/``.
    """
    kind, colon, argument = name.partition(":")
    if places.is_remote(argument):
        return f"{kind}:{argument.rstrip('/')}"
    path = places.local(argument)
    if kind in ("folder", "idx") or (kind == "tfds" and os.path.isdir(path)):
        return f"{kind}:{os.path.abspath(path)}"
    return f"{kind}{colon}{argument}"


def resolved(name: str) -> str:
    """Returns ``absolute`` without links in the path, to compare places."""
    kind, _, path = absolute(name).partition(":")
    return f"{kind}:{os.path.realpath(path) if os.path.isabs(path) else path}"


def place_of(run: Run) -> str:
    """Returns the name of a run's data set, with its absolute place while it is there.

    Else the name is the one that the user wrote.
    """
    written = run.recipe.dataset
    place = str(run.config["dataset"].get("place", written))
    return written if _is_gone(place) else place


def home_of(run: Run) -> str:
    """Returns ``place_of`` a run's data set.

    Raises:
        UsageError: It is not there.
    """
    place = place_of(run)
    if _is_gone(place):
        raise UsageError(
            f"the data set of {run.path} must be in its place, got no {place!r}; if it "
            "was moved, name its new place with --dataset"
        )
    return place


def _is_gone(name: str) -> bool:
    """Tells whether a data set is a folder of this machine that is not there."""
    path = absolute(name).partition(":")[2]
    return os.path.isabs(path) and not os.path.isdir(path)
