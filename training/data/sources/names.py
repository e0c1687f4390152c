"""What the splits and the classes of a data set are called."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from keras_resnet.errors import UsageError

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
SUFFIX = r"[ _-]?(set|data|images)$"  # of Kaggle's training_set, test-images, …


def split_called(name: str) -> str | None:
    """Returns ``"train"``, ``"val"`` or ``"test"``; None: no split is called so."""
    return SPLITS.get(re.sub(SUFFIX, "", name.lower()))


def find_splits(names: Iterable[str], where: str) -> dict[str, str]:
    """Returns their names by ``"train"``, ``"val"`` and ``"test"``, in this order.

    Args:
        names: Of splits and of other things.
        where: What has them.

    Raises:
        UsageError: Two of them are names of one split.
    """
    found: dict[str, str] = {}
    for name in names:
        split = split_called(name)
        if split in found:
            raise UsageError(
                f"{where} must have one {split} split, got {found[split]!r} and "
                f"{name!r}; remove or rename one"
            )
        if split is not None:
            found[split] = name
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def require_classes(labels: Sequence[str], where: str) -> None:
    """Raises UsageError unless there are two classes, each with a name of its own.

    Names are written to files of one name a line, so control characters (line feeds
    among them) are refused.
    """
    if len(labels) < 2:
        raise UsageError(f"{where} must have at least 2 classes, got {len(labels)}")
    first: dict[str, int] = {}
    for number, label in enumerate(labels):
        if not is_name(label):
            raise UsageError(
                f"names of classes must not be empty or have control characters, got "
                f"{label!r} for class {number} of {where}"
            )
        if first.setdefault(label, number) != number:
            raise UsageError(
                f"names of classes must differ, got {label!r} for classes "
                f"{first[label]} and {number} of {where}"
            )


def is_name(text: str) -> bool:
    """Whether text has something to read in it, and no line ends or other controls."""
    kinds = {unicodedata.category(character) for character in text}
    return bool(text.strip()) and kinds.isdisjoint(("Cc", "Zl", "Zp"))
