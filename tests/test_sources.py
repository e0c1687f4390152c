"""Data sets by name, and those that need no files."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from data import labels_of, sizes

from keras_resnet.errors import UsageError
from training.data.reading import ReadOptions
from training.data.sources import load_dataset


@pytest.mark.parametrize("name", ["", "cifar10", "mnist:x", "Digits", ":"])
def test_unknown_kind_is_refused(name: str) -> None:
    with pytest.raises(
        UsageError, match=f"^dataset must be .*, got '{name}'(; did you .*)?$"
    ):
        load_dataset(name)


def test_what_may_be_meant_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(UsageError, match=r"got 'photos'; .* write folder:photos$"):
        load_dataset("photos")
    with pytest.raises(UsageError, match=r"'foldr:x'; did you mean 'folder'\?$"):
        load_dataset("foldr:x")


def test_digits() -> None:
    first, again = load_dataset("digits"), load_dataset("digits")
    assert sizes(first) == {"train": 1437, "test": 360}
    assert first.labels == tuple("0123456789")
    assert (first.channels, first.size, first.mirrors) == (1, (8, 8), False)
    assert first.notes == ("test split: 360 of 1797 training images held out",)
    for name, split in first.splits.items():
        images = split.images.numpy()
        assert images.shape == (len(split), 8, 8, 1)
        assert (images.dtype, images.min(), images.max()) == (np.uint8, 0, 255)
        assert np.array_equal(images, again.splits[name].images)
        assert labels_of(first, name) == labels_of(again, name)
    shares = np.bincount(labels_of(first, "test")) / 360
    whole = np.bincount(labels_of(first, "train") + labels_of(first, "test")) / 1797
    np.testing.assert_allclose(shares, whole, atol=1 / 360)


def test_digits_with_validation() -> None:
    dataset = load_dataset("digits", validation=0.1)
    assert sizes(dataset) == {"train": 1293, "test": 360, "val": 144}


@pytest.mark.parametrize(
    "argument, shape, classes, train, test",
    [
        ("8x10x3:4:20", (8, 10, 3), 4, 20, 4),
        ("5x5x1:2:100", (5, 5, 1), 2, 100, 20),
        ("1x1x1:3:3", (1, 1, 1), 3, 3, 3),
    ],
)
def test_synthetic(
    argument: str, shape: tuple[int, int, int], classes: int, train: int, test: int
) -> None:
    dataset = load_dataset(f"synthetic:{argument}")
    assert sizes(dataset) == {"train": train, "test": test}
    assert (*dataset.size, dataset.channels) == shape
    assert len(dataset.labels) == classes
    for name, split in dataset.splits.items():
        assert split.images.shape == (len(split), *shape)
        assert split.images.dtype == tf.uint8
        assert set(labels_of(dataset, name)) == set(range(classes))


def test_synthetic_can_be_learned_and_is_fixed() -> None:
    dataset = load_dataset("synthetic:6x6x1:3:60")
    images = dataset.splits["train"].images.numpy().astype(float)
    labels = np.array(labels_of(dataset, "train"))
    centres = np.stack([images[labels == i].mean(0) for i in range(3)])
    test = dataset.splits["test"].images.numpy().astype(float)
    distances = ((test[:, None] - centres) ** 2).sum((2, 3, 4))
    assert distances.argmin(1).tolist() == labels_of(dataset, "test")
    again = load_dataset("synthetic:6x6x1:3:60")
    assert np.array_equal(again.splits["train"].images, images)


@pytest.mark.parametrize(
    "name",
    [
        "synthetic",
        "synthetic:",
        "synthetic:8x8:3:10",
        "synthetic:8x8x1:3",
        "synthetic:0x8x1:3:10",
        "synthetic:8x8x1:1:10",
        "synthetic:8x8x1:3:0",
        "synthetic:8x8x1:3:-1",
        "synthetic:8x8x1:3:10:1",
        "synthetic:axbxc:3:10",
        "synthetic:1x1x1:2:10000000000",
        "digits:8",
    ],
)
def test_bad_argument_is_refused(name: str) -> None:
    argument = name.partition(":")[2]
    with pytest.raises(UsageError, match=f"got '(synthetic|digits):{argument}'$"):
        load_dataset(name)


@pytest.mark.parametrize("size", ["9999x9999x3:2:99999", "9x9x3:999999999:9"])
def test_synthetic_needs_memory(size: str) -> None:
    said = rf"^synthetic:{size} must fit in half of the free memory, .*; ask for fewer"
    with pytest.raises(UsageError, match=said):
        load_dataset(f"synthetic:{size}")


@pytest.mark.parametrize("cache", ["memory", "decoded"])
def test_what_is_in_memory_is_not_cached(cache: str) -> None:
    dataset = load_dataset("digits", reading=ReadOptions(cache=cache))
    assert dataset.notes[0] == f"--cache {cache} has no effect: digits is in memory"
