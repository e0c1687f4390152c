"""Splits: what is held out, what is tested on, what may be mirrored."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from data import labels_of, pixel_dataset, sizes, write_classes

from keras_resnet.errors import UsageError
from training.data.datasets import Dataset, hold_out, mirrors, with_test
from training.data.sources import load_dataset


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
    assert mirrors(name) == mirrored


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
    "counts, share, message",
    [
        ([1, 50], 0.2, "every class on both sides, got 1 of class 'class0'"),
        ([50, 0, 50], 0.2, "got 0 of class 'class1'"),
        ([20, 10], 0.01, "every class on both sides, got 10 of class 'class1'"),
        ([2] * 10, 0.9, "every class on both sides"),
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
    assert tested.notes[-1] == "no test split: the validation split is tested on"
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
