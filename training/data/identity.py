"""Compares a data set with the one that a run was trained on, and resolves names."""

import os
from typing import Any

from training.data.types import Dataset
from training.storage import filesystem


def changed(stored: dict[str, Any], dataset: Dataset) -> str | None:
    """Describes how a data set differs from a run's; None: it does not differ.

    Args:
        stored: ``"dataset"`` of the run's config. If an older version wrote it without
            digests, only the numbers of images and the classes are compared.
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
    if kind in ("folder", "idx") or (kind == "tfds" and os.path.isdir(path)):
        return f"{kind}:{os.path.abspath(path)}"
    return f"{kind}{colon}{argument}"


def resolved(name: str) -> str:
    """Returns ``absolute`` with symbolic links resolved, to compare places."""
    kind, _, path = absolute(name).partition(":")
    return f"{kind}:{os.path.realpath(path) if os.path.isabs(path) else path}"
