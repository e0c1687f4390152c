"""Whether a data set is the one that a run was trained on, and where that is."""

import os
from typing import Any

from training.data.types import Dataset
from training.storage import filesystem


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
    if filesystem.is_remote(argument):
        return f"{kind}:{argument.rstrip('/')}"
    path = filesystem.local(argument)
    if kind in ("folder", "idx") or (kind == "tfds" and os.path.isdir(path)):
        return f"{kind}:{os.path.abspath(path)}"
    return f"{kind}{colon}{argument}"


def resolved(name: str) -> str:
    """Returns ``absolute`` without links in the path, to compare places."""
    kind, _, path = absolute(name).partition(":")
    return f"{kind}:{os.path.realpath(path) if os.path.isabs(path) else path}"
