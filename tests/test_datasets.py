"""Splits: what is held out, what is tested on, what may be mirrored."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from data import labels_of, pixel_dataset, sizes, write_classes
from sklearn.model_selection import train_test_split

from keras_resnet.errors import UsageError
from training.data.sources import load_dataset
from training.data.splits import hold_out, with_test
from training.data.types import Dataset, may_be_mirrored


@pytest.mark.parametrize(
    "name, mirrored",
    [
        ("cifar10", True),
        ("imagenet2012", True),
        ("cats_vs_dogs", True),
        ("fashion_mnist", True),
        ("Fashion-MNIST", True),
        ("digits", False),
        ("mnist", False),
        ("EMNIST/letters", False),
        ("kmnist", False),
        ("svhn_cropped", False),
        ("omniglot", False),
        ("binary-alpha-digits", False),
        ("binary_alpha", False),
        ("cmaterdb/bangla", False),
    ],
)
def test_characters_have_no_mirror_image(name: str, mirrored: bool) -> None:
    assert may_be_mirrored(name) == mirrored


def one_split(counts: list[int]) -> Dataset:
    labels = np.repeat(np.arange(len(counts)), counts)
    dataset = pixel_dataset(len(labels), (2, 2, 1))
    train = dataset.splits["train"]
    train = type(train)("pixels", train.images, tf.constant(labels, tf.int64))
    names = tuple(f"class{i}" for i in range(len(counts)))
    return Dataset("made", {"train": train}, names, 1, (2, 2), True)


def test_hold_out_takes_its_share_of_each_class() -> None:
    dataset = one_split([40, 20, 60])
    before = dataset.splits["train"].images.numpy()
    after = hold_out(dataset, "val", 0.25)
    assert np.bincount(labels_of(after, "val")).tolist() == [10, 5, 15]
    assert np.bincount(labels_of(after, "train")).tolist() == [30, 15, 45]
    parts = [split.images.numpy() for split in after.splits.values()]
    together = {image.tobytes() for part in parts for image in part}
    assert together == {image.tobytes() for image in before}
    assert sum(len(part) for part in parts) == len(before)
    assert after.notes == ("val split: 30 of 120 training images held out",)
    again = hold_out(dataset, "val", 0.25)
    assert labels_of(again, "val") == labels_of(after, "val")
    assert np.array_equal(again.splits["val"].images, after.splits["val"].images)


@pytest.mark.parametrize(
    "counts, share, held",
    [
        ([60] + [2] * 10, 0.2, [12] + [1] * 10),
        ([60] + [2] * 10, 0.8, [48] + [1] * 10),
        ([40, 3, 40], 0.9, [36, 2, 36]),
        ([40, 0, 20], 0.25, [10, 0, 5]),  # EMNIST names a class that it has no image of
    ],
)
def test_hold_out_leaves_every_class_on_both_sides(
    counts: list[int], share: float, held: list[int]
) -> None:
    dataset = hold_out(one_split(counts), "test", share)
    classes = len(counts)
    for name, wanted in (("test", held), ("train", np.subtract(counts, held))):
        found = np.bincount(labels_of(dataset, name), minlength=classes)
        assert found.tolist() == list(wanted)
    note = f"test split: {sum(held)} of {sum(counts)} training images held out"
    assert dataset.notes == (note,)


def test_hold_out_is_scikit_learns_where_that_keeps_every_class() -> None:
    """The splits of runs that exist stay as they are."""
    dataset = one_split([31, 17, 52])
    labels = np.array(labels_of(dataset, "train"))
    kept, held = train_test_split(
        np.arange(100), test_size=0.1, stratify=labels, random_state=0
    )
    after = hold_out(dataset, "val", 0.1)
    images = dataset.splits["train"].images.numpy()
    for name, indices in (("train", kept), ("val", held)):
        assert np.array_equal(after.splits[name].images, images[np.sort(indices)])


@pytest.mark.parametrize(
    "counts, share, message",
    [
        ([1, 50], 0.2, "every class in both splits, got 1 of class 'class0'"),
        ([0, 1, 50], 0.2, "every class in both splits, got 1 of class 'class1'"),
        ([20, 10], 0.01, "got 1 images for it and 29 left for 2 classes"),
        ([2] * 10, 0.9, "got 18 images for it and 2 left for 10 classes"),
    ],
)
def test_hold_out_needs_images(counts: list[int], share: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        hold_out(one_split(counts), "val", share)


def test_validation_split_serves_as_test_split() -> None:
    dataset = hold_out(one_split([10, 10]), "val", 0.5)
    tested = with_test(dataset)
    assert tested.splits["test"] is dataset.splits["val"]
    assert "val" not in tested.splits
    assert tested.notes[-1] == "no test split: the validation split is used for testing"
    assert with_test(tested) is tested


def test_a_split_of_the_data_is_not_held_out_again(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_classes(tmp_path / split)
    with_validation = load_dataset(f"folder:{tmp_path}", validation=0.5)
    assert sizes(with_validation) == {"train": 4, "val": 4, "test": 4}


def test_unknown_split_is_refused() -> None:
    dataset = load_dataset("digits")
    assert dataset.split("test") is dataset.splits["test"]
    expected = "split must be one of train, test in digits, got 'val'"
    with pytest.raises(UsageError, match=expected):
        dataset.split("val")
