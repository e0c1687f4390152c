import gzip
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from data import encode, noise, pixel_dataset, smooth, write_classes, write_image

from keras_resnet.errors import UsageError
from training.datasets import Dataset, hold_out, mirrors, with_test
from training.sources import load_dataset

FASHION = Path("/usr/share/datasets/fashion-mnist")


def labels_of(dataset: Dataset, split: str) -> list[int]:
    return dataset.splits[split].labels.numpy().tolist()


def sizes(dataset: Dataset) -> dict[str, int]:
    return {name: len(split) for name, split in dataset.splits.items()}


@pytest.mark.parametrize("name", ["", "cifar10", "mnist:x", "Digits", ":"])
def test_unknown_kind_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"^dataset must be .*, got '{name}'$"):
        load_dataset(name)


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
        "digits:8",
    ],
)
def test_bad_argument_is_refused(name: str) -> None:
    argument = name.partition(":")[2]
    with pytest.raises(UsageError, match=f"got '(synthetic|digits):{argument}'$"):
        load_dataset(name)


TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = (
    f"{prefix}-{kind}-ubyte"
    for prefix in ("train", "t10k")
    for kind in ("images-idx3", "labels-idx1")
)


def idx(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return header + values.astype(np.uint8).tobytes()


def numbers(*values: int) -> bytes:
    return idx(np.array(values))


IDX = {
    TRAIN_IMAGES: idx(noise(6, 5, 7)),
    TRAIN_LABELS: numbers(0, 1, 2, 0, 1, 2),
    TEST_IMAGES: idx(noise(3, 5, 7, seed=1)),
    TEST_LABELS: numbers(2, 1, 0),
}


def write_idx(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("compressed", [False, True])
def test_idx(compressed: bool, tmp_path: Path) -> None:
    files = {
        (f"{name}.gz" if compressed else name): (
            gzip.compress(data) if compressed else data
        )
        for name, data in IDX.items()
    }
    dataset = load_dataset(f"idx:{write_idx(tmp_path, files)}")
    assert sizes(dataset) == {"train": 6, "test": 3}
    assert (dataset.size, dataset.channels) == ((5, 7), 1)
    assert dataset.labels == ("0", "1", "2")
    assert not dataset.mirrors
    assert np.array_equal(dataset.splits["train"].images[..., 0], noise(6, 5, 7))
    assert labels_of(dataset, "train") == [0, 1, 2, 0, 1, 2]
    assert labels_of(dataset, "test") == [2, 1, 0]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({TEST_IMAGES: None}, f"must hold {TEST_IMAGES} or {TEST_IMAGES}.gz, got"),
        ({TRAIN_LABELS: None}, f"must hold {TRAIN_LABELS} or {TRAIN_LABELS}.gz, got"),
        (
            {TRAIN_IMAGES: IDX[TRAIN_IMAGES][:-1]},
            f"{TRAIN_IMAGES} must have 226 bytes as its header says, got 225",
        ),
        (
            {TRAIN_IMAGES: IDX[TRAIN_IMAGES] + b"\0"},
            f"{TRAIN_IMAGES} must have 226 bytes as its header says, got 227",
        ),
        ({TEST_LABELS: b"\0\0\x08\x01\0"}, f"{TEST_LABELS} must have"),
        ({TEST_LABELS: b""}, f"{TEST_LABELS} must be an idx file of bytes, got b''"),
        (
            {TRAIN_LABELS: b"\x01" + IDX[TRAIN_LABELS][1:]},
            f"{TRAIN_LABELS} must be an idx file of bytes, got",
        ),
        (
            {TRAIN_LABELS: b"\0\0\x0d" + IDX[TRAIN_LABELS][3:]},
            f"{TRAIN_LABELS} must be an idx file of bytes, got",
        ),
        (
            {
                TRAIN_IMAGES: None,
                f"{TRAIN_IMAGES}.gz": gzip.compress(IDX[TRAIN_IMAGES])[:-20],
            },
            f"cannot read .*{TRAIN_IMAGES}.gz: Compressed file ended",
        ),
        (
            {TRAIN_IMAGES: None, f"{TRAIN_IMAGES}.gz": IDX[TRAIN_IMAGES]},
            f"cannot read .*{TRAIN_IMAGES}.gz: Not a gzipped file",
        ),
        (
            {TRAIN_LABELS: numbers(0, 1, 9, 0, 1, 9)},
            "train labels of .* must be 0 to 1, got 9; name every class",
        ),
        (
            {TRAIN_LABELS: numbers(1, 2, 1, 2, 1, 2)},
            "train labels of .* must be 0 to",
        ),
        (
            {TEST_LABELS: numbers(2, 1, 3)},
            "test labels of .* must be 0 to 2, got 3; name every class",
        ),
        ({"labels.txt": b"a\nb\n"}, "train labels of .* must be 0 to 1, got 2"),
        (
            {TRAIN_LABELS: numbers(0, 1, 2)},
            r"train images .* must fit, got \(6, 5, 7\) and \(3,\)",
        ),
        (
            {TEST_LABELS: IDX[TRAIN_IMAGES]},
            r"t10k images .* must fit, got \(3, 5, 7\) and \(6, 5, 7\)",
        ),
        (
            {TEST_IMAGES: idx(noise(3, 5, 8))},
            r"must have one size in both splits, got .*\(5, 8, 1\)",
        ),
        (
            {TEST_IMAGES: idx(noise(0, 5, 7)), TEST_LABELS: numbers()},
            "t10k files of .* must hold images, got shape",
        ),
        (
            {TEST_IMAGES: b"\0\0\x08\x03" + 2 * b"\x80\0\0\0" + b"\0\0\0\x04"},
            f"{TEST_IMAGES} must have",
        ),
        (
            {"labels.txt": b"\xff\xfe"},
            "labels.txt",
        ),
    ],
)
def test_damaged_idx_is_refused(
    changes: dict[str, bytes | None], message: str, tmp_path: Path
) -> None:
    files = {k: v for k, v in {**IDX, **changes}.items() if v is not None}
    with pytest.raises(UsageError, match=message):
        load_dataset(f"idx:{write_idx(tmp_path, files)}")


@pytest.mark.parametrize("argument", ["/no/such/folder", __file__])
def test_missing_idx_folder_is_refused(argument: str) -> None:
    with pytest.raises(UsageError, match=f"idx folder must exist, got '{argument}'"):
        load_dataset(f"idx:{argument}")


@pytest.mark.parametrize(
    "text", ["cat\ndog\nT-shirt/top", "cat\r\ndog\r\nT-shirt/top\n"]
)
def test_class_names_come_from_labels_txt(text: str, tmp_path: Path) -> None:
    write_idx(tmp_path, {**IDX, "labels.txt": text.encode()})
    assert load_dataset(f"idx:{tmp_path}").labels == ("cat", "dog", "T-shirt/top")


def test_labels_txt_allows_classes_without_images(tmp_path: Path) -> None:
    gap = {TRAIN_LABELS: numbers(0, 1, 3, 0, 1, 3), "labels.txt": b"a\nb\nc\nd\n"}
    write_idx(tmp_path, {**IDX, **gap})
    assert load_dataset(f"idx:{tmp_path}").labels == tuple("abcd")


@pytest.mark.skipif(
    not FASHION.is_dir(), reason="needs Debian's package dataset-fashion-mnist"
)
def test_fashion_mnist() -> None:
    dataset = load_dataset(f"idx:{FASHION}")
    assert sizes(dataset) == {"train": 60_000, "test": 10_000}
    assert (dataset.size, dataset.channels, dataset.mirrors) == ((28, 28), 1, True)
    assert dataset.labels[0] == "T-shirt/top" and dataset.labels[9] == "Ankle boot"
    assert set(np.bincount(labels_of(dataset, "train"))) == {6000}
    # Xiao et al.'s own mean, 0.2860 of 255.
    images = dataset.splits["train"].images.numpy()
    assert images.mean() / 255 == pytest.approx(0.2860, abs=1e-4)


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


def test_folder_of_several_sizes_and_formats(tmp_path: Path) -> None:
    for i, name in enumerate(("a.jpg", "b.png", "c.gif", "d.bmp", "e.webp", "f.JPEG")):
        write_image(tmp_path / "one" / name, smooth(10 + i, 20 - i))
    write_image(tmp_path / "two" / "deep" / "er.png", noise(5, 5))
    write_image(tmp_path / "two" / "no_ending.png", noise(5, 5, 4))
    (tmp_path / "two" / "no_ending.png").rename(tmp_path / "two" / "no_ending")
    from training.sources import folder

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


JPEG = encode(noise(40, 40, 3), "JPEG")
PNG = encode(noise(40, 40, 3), "PNG")
BAD_FILES = {
    "notes.txt": (b"no image at all", "cannot identify image file"),
    "zero.jpg": (b"", "cannot identify image file"),
    "truncated.jpg": (JPEG[:-300], "truncated"),
    "truncated.png": (PNG[: len(PNG) // 2], "truncated"),
    "page.jpg": (b"<html>404 not found</html>", "cannot identify image file"),
    "scan.tif": (encode(noise(4, 4, 3), "TIFF"), "a TIFF file"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_named(name: str, tmp_path: Path) -> None:
    data, reason = BAD_FILES[name]
    write_classes(tmp_path, count=5)
    bad = tmp_path / "b" / name
    bad.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        load_dataset(f"folder:{tmp_path}")
    message = str(caught.value)
    assert f"got {bad}: " in message
    assert reason in message
    assert "(1 bad of 11)" in message
    assert "--skip-bad-images" in message
    assert "\n" not in message


def test_bad_files_can_be_skipped(tmp_path: Path) -> None:
    write_classes(tmp_path, count=5)
    for name, (data, _) in BAD_FILES.items():
        (tmp_path / "a" / name).write_bytes(data)
    dataset = load_dataset(f"folder:{tmp_path}", skip_bad_images=True)
    assert sizes(dataset) == {"train": 8, "test": 2}
    assert dataset.notes[0] == "skipped 6 bad files of 16"


def test_class_of_bad_files_only_is_refused(tmp_path: Path) -> None:
    write_classes(tmp_path)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "0.png").write_bytes(b"")
    with pytest.raises(UsageError, match="must have a good image, got none in 'c'"):
        load_dataset(f"folder:{tmp_path}", skip_bad_images=True)


def empty_class(root: Path) -> None:
    write_classes(root)
    (root / "empty").mkdir()


def unknown_class(root: Path) -> None:
    write_classes(root / "train")
    write_classes(root / "test", "abc")


def missing_class(root: Path) -> None:
    write_classes(root / "train", "abc")
    write_classes(root / "test", "ab")


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda root: None, "must hold one folder a class, at least 2, got 0"),
        (lambda root: write_classes(root, "a"), "at least 2, got 1"),
        (lambda root: write_classes(root / "train", "a"), "train must hold one folder"),
        (empty_class, "class folder must hold images, got none in .*/empty"),
        (unknown_class, "test must hold classes of the training split only, got 'c'"),
        (missing_class, "every class must have a good image, got none in 'c'"),
    ],
)
def test_bad_folder_is_refused(
    write: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    write(tmp_path)
    with pytest.raises(UsageError, match=message):
        load_dataset(f"folder:{tmp_path}")


@pytest.mark.parametrize("argument", ["/no/such/folder", __file__])
def test_missing_image_folder_is_refused(argument: str) -> None:
    with pytest.raises(UsageError, match=f"image folder must exist, got '{argument}'"):
        load_dataset(f"folder:{argument}")


def pillow_animation(file_format: str) -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    first, second = (Image.fromarray(noise(9, 9, 3, seed=i)) for i in range(2))
    first.save(file, file_format, save_all=True, append_images=[second])
    return file.getvalue()


@pytest.mark.parametrize(
    "data, readable",
    [
        (pillow_animation("MPO"), True),  # what many cameras and phones call .jpg
        (pillow_animation("WEBP"), False),
        (encode(noise(9, 9, 3), "BMP", "1"), False),
        (encode(noise(9, 9, 3), "BMP", "P"), False),  # its indices pass for grey
    ],
    ids=["mpo", "webp_animation", "bmp_bits", "bmp_palette"],
)
def test_check_accepts_what_tensorflow_reads(
    data: bytes, readable: bool, tmp_path: Path
) -> None:
    from training.sources.folder import check_image

    path = tmp_path / "image"
    path.write_bytes(data)
    assert (check_image(path) is None) == readable


def write_tfds(
    root: Path, name: str, shape: tuple[Any, ...], label: str = "label"
) -> None:
    """Writes 12 and 6 images of three classes as a prepared data set."""
    import tensorflow_datasets as tfds

    def split(count: int, seed: int) -> tf.data.Dataset:
        def examples() -> Iterator[dict[str, Any]]:
            for i in range(count):
                height, width = (side or 8 + i for side in shape[:2])
                image = noise(height, width, shape[2], seed=seed + i)
                yield {"image": image, label: i % 3}

        spec = {
            "image": tf.TensorSpec(shape, tf.uint8),
            label: tf.TensorSpec((), tf.int64),
        }
        return tf.data.Dataset.from_generator(examples, output_signature=spec)

    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        data_dir=root,
        split_datasets={"train": split(12, 0), "test": split(6, 100)},
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=shape),
                label: tfds.features.ClassLabel(names=["x", "y", "z"]),
            }
        ),
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tensorflow_datasets")
    write_tfds(root, "tiny_fixed", (8, 9, 1))
    write_tfds(root, "tiny_varying", (None, None, 3))
    write_tfds(root, "tiny_unlabelled", (8, 9, 1), label="other")
    return root


@pytest.mark.parametrize(
    "name, kind, channels, size",
    [
        ("tiny_fixed", "pixels", 1, (8, 9)),
        ("tiny_varying", "bytes", 3, None),
    ],
)
def test_prepared_data_set(
    name: str, kind: str, channels: int, size: tuple[int, int] | None, prepared: Path
) -> None:
    dataset = load_dataset(f"tfds:{prepared / name / '1.0.0'}")
    assert sizes(dataset) == {"train": 12, "test": 6}
    assert dataset.labels == ("x", "y", "z")
    assert (dataset.channels, dataset.size) == (channels, size)
    assert dataset.mirrors
    assert {split.kind for split in dataset.splits.values()} == {kind}
    found = {
        (tf.io.decode_image(split.encoded(i)).numpy().tobytes(), int(split.labels[i]))
        for split in [dataset.splits["test"]]
        for i in range(6)
    }
    height, width = size or (None, None)
    wanted = {
        (
            noise(height or 8 + i, width or 8 + i, channels, seed=100 + i).tobytes(),
            i % 3,
        )
        for i in range(6)
    }
    assert found == wanted


def test_data_set_too_large_for_the_memory_is_refused(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.sources.prepared.MEMORY_SHARE", 0.0)
    with pytest.raises(UsageError, match=r"half of the free memory, got 0\.0 GiB with"):
        load_dataset(f"tfds:{prepared / 'tiny_fixed' / '1.0.0'}")


def test_images_above_a_gibibyte_stay_encoded(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.sources.prepared.PIXELS_BELOW_BYTES", 8 * 9 * 18 - 1)
    dataset = load_dataset(f"tfds:{prepared / 'tiny_fixed' / '1.0.0'}")
    assert {split.kind for split in dataset.splits.values()} == {"bytes"}
    assert dataset.size == (8, 9)


@pytest.mark.parametrize(
    "argument, message",
    [
        ("", "must be named, say tfds:cifar10"),
        ("no_such_data_set", "must be prepared on disk .*DatasetNotFoundError"),
        ("no such/name:9", "must be prepared on disk .* or downloadable"),
        ("{prepared}", "must be prepared on disk .* or downloadable"),
        (
            "{prepared}/tiny_unlabelled/1.0.0",
            "must have an image and a class label, got features ",
        ),
    ],
)
def test_tfds_without_such_a_data_set_is_refused(
    argument: str, message: str, prepared: Path
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_dataset(f"tfds:{argument.format(prepared=prepared)}")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_data_set_is_found_by_its_name(prepared: Path) -> None:
    # A process of its own: tensorflow_datasets reads the variable at its import.
    program = (
        "from training.sources import load_dataset\n"
        "dataset = load_dataset('tfds:tiny_fixed')\n"
        "print(dataset.name, len(dataset.splits['train']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TFDS_DATA_DIR": str(prepared)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ["tfds:tiny_fixed", "12"]
