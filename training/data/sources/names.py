"""Recognises the names of splits and validates the names of classes."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from keras_resnet.errors import UsageError

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
SUFFIX = r"[ _-]?(set|data|images)$"  # as in Kaggle's training_set, test-images, …


def standard_split(name: str) -> str | None:
    """Returns ``"train"``, ``"val"`` or ``"test"``; None: not the name of a split."""
    return SPLITS.get(re.sub(SUFFIX, "", name.lower()))


def find_splits(names: Iterable[str], where: str) -> dict[str, str]:
    """Maps ``"train"``, ``"val"`` and ``"test"``, in this order, to the names found.

    Args:
        names: Names of splits and of other things.
        where: Name of the data set or folder in the error message.

    Raises:
        UsageError: Two names denote the same split.
    """
    found: dict[str, str] = {}
    for name in names:
        split = standard_split(name)
        if split in found:
            raise UsageError(
                f"{where} must have one {split} split, got {found[split]!r} and "
                f"{name!r}; remove or rename one"
            )
        if split is not None:
            found[split] = name
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def require_classes(labels: Sequence[str], where: str) -> None:
    """Raises UsageError unless there are at least two classes with different names.

    Names are written to files with one name per line, so they must not contain control
    characters such as line feeds.
    """
    if len(labels) < 2:
        raise UsageError(f"{where} must have at least 2 classes, got {len(labels)}")
    first: dict[str, int] = {}
    for number, label in enumerate(labels):
        if not is_name(label):
            raise UsageError(
                f"class names must not be empty or contain control characters, got "
                f"{label!r} for class {number} of {where}"
            )
        if first.setdefault(label, number) != number:
            raise UsageError(
                f"class names must differ, got {label!r} for classes "
                f"{first[label]} and {number} of {where}"
            )


def is_name(text: str) -> bool:
    """Returns whether text has visible characters and no control characters."""
    kinds = {unicodedata.category(character) for character in text}
    return bool(text.strip()) and kinds.isdisjoint(("Cc", "Zl", "Zp"))
