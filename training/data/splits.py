"""Test and validation splits held out of the training split."""

import math
from dataclasses import replace

import numpy as np

from keras_resnet.errors import UsageError
from training.data.types import Dataset

TEST_SHARE = 0.2  # held out for testing where the data comes in one piece


def with_test(dataset: Dataset) -> Dataset:
    """Ensures a split to test on: its own, else that for validation, else a share."""
    if "test" in dataset.splits:
        return dataset
    if "val" in dataset.splits:
        splits = {"train": dataset.splits["train"], "test": dataset.splits["val"]}
        note = "no test split: the validation split is tested on"
        return replace(dataset, splits=splits, notes=(*dataset.notes, note))
    return hold_out(dataset, "test", TEST_SHARE)


def hold_out(dataset: Dataset, name: str, share: float) -> Dataset:
    """Moves a fixed share of each class from the training split into a new one.

    Each class that has images has at least one in both.

    Raises:
        UsageError: A class has one image, or the share is too small or too large.
    """
    if share == 0 or name in dataset.splits:
        return dataset
    from sklearn.model_selection import train_test_split

    train = dataset.splits["train"]
    labels = train.labels.numpy()
    classes, counts = np.unique(labels, return_counts=True)
    held_count = math.ceil(share * len(train))
    sides = f"a {name} split of {share:.0%} must leave an image of every class on both"
    if counts.min() < 2:
        label = dataset.labels[classes[counts.argmin()]]
        raise UsageError(
            f"{sides} sides, got 1 of class {label!r} in the training split; add "
            "images or a split of your own"
        )
    if min(held_count, len(train) - held_count) < len(classes):
        raise UsageError(
            f"{sides} sides, got {held_count} images for it and "
            f"{len(train) - held_count} left of {len(classes)} classes; add images, "
            "change the share or add a split of your own"
        )
    kept, held = train_test_split(
        np.arange(len(train)), test_size=share, stratify=labels, random_state=0
    )
    kept, held = _with_every_class(kept, held, labels)
    splits = {
        **dataset.splits,
        "train": train.take(np.sort(kept)),
        name: train.take(np.sort(held)),
    }
    note = f"{name} split: {len(held)} of {len(train)} training images held out"
    return replace(dataset, splits=splits, notes=(*dataset.notes, note))


def _with_every_class(
    kept: np.ndarray, held: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Moves one image of each class that scikit-learn rounded away from a side.

    Its other images stay where they are, so that most splits are scikit-learn's.
    """

    def lacking(side: np.ndarray, other: np.ndarray) -> np.ndarray:
        lost = np.setdiff1d(labels, labels[side])
        return np.array([i for c in lost for i in other[labels[other] == c][:1]], int)

    to_held, to_kept = lacking(held, kept), lacking(kept, held)
    kept = np.concatenate([np.setdiff1d(kept, to_held), to_kept])
    held = np.concatenate([np.setdiff1d(held, to_kept), to_held])
    return kept, held
