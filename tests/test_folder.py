"""Folders of image files."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
from data import labels_of, noise, sizes, smooth, write_classes, write_image

from keras_resnet.errors import UsageError
from training.data.reading import ReadOptions
from training.data.sources import load_dataset


def test_folder_with_three_splits(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        write_classes(tmp_path / split, ["cat", "dog"], count)
    dataset = load_dataset(f"folder:{tmp_path}")
    assert sizes(dataset) == {"train": 8, "val": 4, "test": 6}
    assert dataset.labels == ("cat", "dog")
    assert (dataset.channels, dataset.size, dataset.mirrors) == (3, None, True)
    assert dataset.notes == ()
    assert labels_of(dataset, "test") == [0, 0, 0, 1, 1, 1]
    paths = [Path(path.decode()) for path in dataset.splits["test"].images.numpy()]
    wanted = [
        tmp_path / "test" / c / f"{i}.png" for c in ("cat", "dog") for i in range(3)
    ]
    assert paths == wanted


@pytest.mark.parametrize(
    "splits, expected",
    [
        (("train", "test"), {"train": 20, "test": 20}),
        (("train", "val"), {"train": 20, "test": 20}),
        (("train",), {"train": 16, "test": 4}),
        (("",), {"train": 16, "test": 4}),
    ],
)
def test_folder_always_has_a_test_split(
    splits: tuple[str, ...], expected: dict[str, int], tmp_path: Path
) -> None:
    for split in splits:
        write_classes(tmp_path / split, count=10)
    assert sizes(load_dataset(f"folder:{tmp_path}")) == expected


@pytest.mark.parametrize(
    "names",
    [
        ("Training", "Testing"),
        ("TRAIN", "dev", "Test"),
        ("train", "Valid", "test"),
        ("training_set", "Validation", "test-set"),
        ("Train", "Val"),
    ],
)
def test_splits_go_by_their_usual_names(names: tuple[str, ...], tmp_path: Path) -> None:
    for count, split in enumerate(names, 2):
        write_classes(tmp_path / split, count=count)
    dataset = load_dataset(f"folder:{tmp_path}")
    assert dataset.labels == ("a", "b")
    assert list(sizes(dataset).values()) == [4, 6, 8][: len(names)]
    wanted = ["train", "val", "test"] if len(names) == 3 else ["train", "test"]
    assert list(dataset.splits) == wanted


@pytest.mark.parametrize("name", ["train", "valid", "Test"])
def test_class_may_be_called_as_a_split(name: str, tmp_path: Path) -> None:
    """Beside other classes, as long as it holds no folders; or in a train split."""
    classes = ["bus", name]
    write_classes(tmp_path / "flat", classes, count=5)
    write_classes(tmp_path / "split" / "train", classes, count=5)
    flat = load_dataset(f"folder:{tmp_path / 'flat'}")
    assert set(flat.labels) == set(classes)
    assert flat.notes[0] == f"read as classes, not splits: {name}"
    assert set(load_dataset(f"folder:{tmp_path / 'split'}").labels) == set(classes)


@pytest.mark.parametrize("empty", [False, True])
def test_class_may_be_absent_from_validation_and_test(
    empty: bool, tmp_path: Path
) -> None:
    for split, classes in (("train", "abc"), ("val", "ac"), ("test", "b")):
        write_classes(tmp_path / split, classes)
    if empty:
        (tmp_path / "test" / "a").mkdir()
    dataset = load_dataset(f"folder:{tmp_path}")
    assert labels_of(dataset, "test") == [1, 1]
    assert dataset.notes == (
        "val split: no image of b",
        "test split: no image of a, c",
    )


def test_folder_of_several_sizes_and_formats(tmp_path: Path) -> None:
    for i, name in enumerate(("a.jpg", "b.png", "c.gif", "d.bmp", "e.webp", "f.JPEG")):
        write_image(tmp_path / "one" / name, smooth(10 + i, 20 - i))
    write_image(tmp_path / "two" / "deep" / "er.png", noise(5, 5))
    write_image(tmp_path / "two" / "no_ending.png", noise(5, 5, 4))
    (tmp_path / "two" / "no_ending.png").rename(tmp_path / "two" / "no_ending")
    from training.data.sources import folder

    dataset = folder.load(str(tmp_path))
    assert labels_of(dataset, "train") == [0] * 6 + [1] * 2
    for index in range(8):
        tf.io.decode_image(dataset.splits["train"].encoded(index), channels=3)


def test_hidden_files_are_ignored(tmp_path: Path) -> None:
    write_classes(tmp_path, count=5)
    (tmp_path / "a" / ".DS_Store").write_bytes(b"no image")
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / "readme.txt").write_text("not in a class folder")
    dataset = load_dataset(f"folder:{tmp_path}")
    assert dataset.labels == ("a", "b")
    assert sizes(dataset) == {"train": 8, "test": 2}


def test_class_of_bad_files_only_is_refused(tmp_path: Path) -> None:
    write_classes(tmp_path)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "0.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"valid training images, got none in .*/c$"):
        load_dataset(f"folder:{tmp_path}", reading=ReadOptions(skip_bad_images=True))


def test_its_path_is_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    around = tmp_path / os.fsdecode(b"\xff")
    write_classes(around / "photos")
    monkeypatch.chdir(around)
    with pytest.raises(UsageError, match=r"data set must be UTF-8, got .*\\udcff"):
        load_dataset("folder:photos")


def empty_class(root: Path) -> None:
    write_classes(root)
    (root / "empty").mkdir()


def unknown_class(root: Path) -> None:
    write_classes(root / "train")
    write_classes(root / "test", "abc")


def unnamed_class(root: Path) -> None:
    write_classes(root, [os.fsdecode(b"\xff"), "b"])


def empty_split(root: Path) -> None:
    write_classes(root / "train")
    (root / "test" / "a").mkdir(parents=True)


def flat_splits(root: Path) -> None:
    for split in ("train", "test"):
        write_image(root / split / "0.png", noise(9, 9, 3))


def splits(*names: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        for name in names:
            write_classes(root / name)

    return write


def split_and_class(root: Path) -> None:
    write_classes(root / "Train")
    write_classes(root, "c")


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda root: None, "must contain at least 2 class folders, got 0"),
        (lambda root: write_classes(root, "a"), "at least 2 class folders, got 1"),
        (
            lambda root: write_classes(root / "train", "a"),
            "train must contain at least 2 class folders",
        ),
        (empty_class, "valid training images, got none in .*/empty$"),
        (
            unknown_class,
            "test must contain only classes of the training split, got 'c'",
        ),
        (unnamed_class, "class names must be UTF-8, got"),
        (
            lambda root: write_classes(root, ["a\rb", "c"]),
            r"not be empty or contain control characters, got 'a\\rb' for class 0",
        ),
        (empty_split, "^test split must contain valid images, .* got none in .*/test;"),
        (flat_splits, "train must contain at least 2 class folders, got 0"),
        (splits("train", "val", "validation"), "val split, got 'val' and 'validation'"),
        (splits("train", "Test", "testing"), "test split, got 'Test' and 'testing'"),
        (splits("val", "test"), "must contain a train split, got only val, test"),
        (split_and_class, "splits or classes, got the split 'Train' and 'c'"),
    ],
)
def test_bad_folder_is_refused(
    write: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    write(tmp_path)
    with pytest.raises(UsageError, match=message):
        load_dataset(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    "argument, why", [("/no/such/folder", ""), (__file__, ", which is not a folder")]
)
@pytest.mark.parametrize("kind", ["folder", "idx"])
def test_missing_folder_is_refused(kind: str, argument: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"folder must exist, got '{argument}'{why}$"):
        load_dataset(f"{kind}:{argument}")
