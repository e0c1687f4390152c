"""MNIST-format files."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from data import labels_of, noise, sizes

from keras_resnet.errors import UsageError
from training.data.sources import load_dataset

FASHION = Path("/usr/share/datasets/fashion-mnist")


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
        ({TEST_IMAGES: None}, f"must contain {TEST_IMAGES} or {TEST_IMAGES}.gz, got"),
        (
            {TRAIN_LABELS: None},
            f"must contain {TRAIN_LABELS} or {TRAIN_LABELS}.gz, got",
        ),
        (
            {TRAIN_IMAGES: IDX[TRAIN_IMAGES][:-1]},
            f"{TRAIN_IMAGES} must have the 226 bytes that its header specifies, "
            "got 225",
        ),
        (
            {TRAIN_IMAGES: IDX[TRAIN_IMAGES] + b"\0"},
            f"{TRAIN_IMAGES} must have the 226 bytes that its header specifies, "
            "got 227",
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
            f"must be readable, got .*{TRAIN_IMAGES}.gz: Compressed file ended",
        ),
        (
            {TRAIN_IMAGES: None, f"{TRAIN_IMAGES}.gz": IDX[TRAIN_IMAGES]},
            f"must be readable, got .*{TRAIN_IMAGES}.gz: Not a gzipped file",
        ),
        (
            {TRAIN_LABELS: numbers(0, 1, 9, 0, 1, 9)},
            "train labels of .* without a gap, got 9 but no 2; .* list every class",
        ),
        (
            {TRAIN_LABELS: numbers(1, 2, 1, 2, 1, 2)},
            "train labels of .* without a gap, got 1 but no 0",
        ),
        (
            {TEST_LABELS: numbers(2, 1, 3)},
            "test labels of .* must be 0 to 2, got 3; .* list every class",
        ),
        ({"labels.txt": b"a\nb\n"}, "train labels of .* must be 0 to 1, got 2"),
        (
            {TRAIN_LABELS: numbers(0, 1, 2)},
            r"train images .* must match, got \(6, 5, 7\) and \(3,\)",
        ),
        (
            {TEST_LABELS: IDX[TRAIN_IMAGES]},
            r"t10k images .* must match, got \(3, 5, 7\) and \(6, 5, 7\)",
        ),
        (
            {TEST_IMAGES: idx(noise(3, 5, 8))},
            r"must have one size in both splits, got .*\(5, 8, 1\)",
        ),
        (
            {TEST_IMAGES: idx(noise(0, 5, 7)), TEST_LABELS: numbers()},
            "t10k files of .* must have images, got shape",
        ),
        (
            {TEST_IMAGES: b"\0\0\x08\x03" + 2 * b"\x80\0\0\0" + b"\0\0\0\x04"},
            f"{TEST_IMAGES} must have",
        ),
        (
            {"labels.txt": b"\xff\xfe"},
            "labels.txt must be UTF-8 text, got ",
        ),
        ({"labels.txt": b""}, "labels.txt must have at least 2 classes, got 1"),
        ({"labels.txt": b"a\n\nb\nc\n"}, "got '' for class 1 of .*labels.txt"),
        ({"labels.txt": b"a\nb\n \t\nc"}, "got '' for class 2 of .*labels.txt"),
        (
            {"labels.txt": b"a\nb\tx\nc\n"},
            r"characters, got 'b\\tx' for class 1 of",
        ),
        (
            {"labels.txt": b"a\nb\na \nc\n"},
            "got 'a' for classes 0 and 2 of .*s.txt",
        ),
        (
            {TRAIN_LABELS: numbers(*6 * [0]), TEST_LABELS: numbers(*3 * [0])},
            "must have at least 2 classes, got 1",
        ),
    ],
)
def test_damaged_idx_is_refused(
    changes: dict[str, bytes | None], message: str, tmp_path: Path
) -> None:
    files = {k: v for k, v in {**IDX, **changes}.items() if v is not None}
    with pytest.raises(UsageError, match=message):
        load_dataset(f"idx:{write_idx(tmp_path, files)}")


@pytest.mark.parametrize(
    "text",
    [
        "cat\ndog\nT-shirt/top",
        "cat\r\ndog\r\nT-shirt/top\n",
        "cat\rdog\rT-shirt/top\r",
        "\ufeffcat\ndog  \n\tT-shirt/top\n\n",
    ],
)
def test_class_names_come_from_labels_txt(text: str, tmp_path: Path) -> None:
    write_idx(tmp_path, {**IDX, "labels.txt": text.encode()})
    assert load_dataset(f"idx:{tmp_path}").labels == ("cat", "dog", "T-shirt/top")


def test_labels_txt_allows_classes_without_images(tmp_path: Path) -> None:
    gap = {TRAIN_LABELS: numbers(0, 1, 3, 0, 1, 3), "labels.txt": b"a\nb\nc\nd\n"}
    write_idx(tmp_path, {**IDX, **gap})
    assert load_dataset(f"idx:{tmp_path}").labels == tuple("abcd")


@pytest.mark.slow
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
