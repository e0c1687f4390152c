"""Holds out test and validation splits from the training split."""

import math
from dataclasses import replace

import numpy as np

from keras_resnet.errors import UsageError
from training.data.types import Dataset

TEST_SHARE = 0.2  # held out for testing if the data has only one split


def with_test(dataset: Dataset) -> Dataset:
    """Ensures a test split: its own, the validation split, or a held-out part."""
    if "test" in dataset.splits:
        return dataset
    if "val" in dataset.splits:
        splits = {"train": dataset.splits["train"], "test": dataset.splits["val"]}
        note = "no test split: the validation split is used for testing"
        return replace(dataset, splits=splits, notes=(*dataset.notes, note))
    return hold_out(dataset, "test", TEST_SHARE)


def hold_out(dataset: Dataset, name: str, share: float) -> Dataset:
    """Moves a fixed part of the training split to a new split; both have every class.

    Args:
        dataset: The data set.
        name: Name of the new split; a split that exists is kept.
        share: Fraction of each class to move, 0 to 1; 0 changes nothing.

    Raises:
        UsageError: A class has only one image, or the share is too small or too large.
    """
    if share == 0 or name in dataset.splits:
        return dataset
    from sklearn.model_selection import train_test_split

    train = dataset.splits["train"]
    labels = train.labels.numpy()
    classes, counts = np.unique(labels, return_counts=True)
    held_count = math.ceil(share * len(train))
    rule = f"a {name} split of {share:.0%} must leave an image of every class in both"
    if counts.min() < 2:
        label = dataset.labels[classes[counts.argmin()]]
        raise UsageError(
            f"{rule} splits, got 1 of class {label!r} in the training split; add "
            f"images or a {name} split"
        )
    if min(held_count, len(train) - held_count) < len(classes):
        raise UsageError(
            f"{rule} splits, got {held_count} images for it and "
            f"{len(train) - held_count} left for {len(classes)} classes; add images, "
            f"change the share or add a {name} split"
        )
    kept, held = train_test_split(
        np.arange(len(train)), test_size=share, stratify=labels, random_state=0
    )
    kept, held = _with_every_class(kept, held, labels)
    parts = {"train": train.take(np.sort(kept)), name: train.take(np.sort(held))}
    splits = {**dataset.splits, **parts}
    note = f"{name} split: {len(held)} of {len(train)} training images held out"
    return replace(dataset, splits=splits, notes=(*dataset.notes, note))


def _with_every_class(
    kept: np.ndarray, held: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Moves one image of each class that a split lacks after scikit-learn's rounding.

    All other images stay, so most splits equal scikit-learn's.
    """

    def lacking(side: np.ndarray, other: np.ndarray) -> np.ndarray:
        lost = np.setdiff1d(labels, labels[side])
        return np.array([i for c in lost for i in other[labels[other] == c][:1]], int)

    to_held, to_kept = lacking(held, kept), lacking(kept, held)
    kept = np.concatenate([np.setdiff1d(kept, to_held), to_kept])
    held = np.concatenate([np.setdiff1d(held, to_kept), to_held])
    return kept, held
