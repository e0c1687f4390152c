"""TensorFlow Datasets, prepared on disk."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tensorflow as tf
from data import labels_of, noise, sizes
from forked import elsewhere

from keras_resnet.errors import UsageError
from training.data.reading import ReadOptions
from training.data.sources import load_dataset

# From levels of 8 bits to the range of a type.
SCALES = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}


def write_tfds(
    root: Path,
    name: str,
    shape: tuple[Any, ...],
    *,
    label: str = "label",
    file_format: str = "tfrecord",
    names: tuple[str, ...] = ("x", "y", "z"),
    splits: tuple[str, ...] = ("train", "test"),
    first: int = 0,
    dtype: type = np.uint8,
) -> None:
    """Writes 12 and 6 images of classes from ``first`` on as a prepared data set."""
    import tensorflow_datasets as tfds

    def split(count: int, seed: int) -> tf.data.Dataset:
        def examples() -> Iterator[dict[str, Any]]:
            for i in range(count):
                height, width = (side or 8 + i for side in shape[:2])
                image = noise(height, width, shape[2], seed=seed + i)
                scaled = image * dtype(SCALES[dtype])
                yield {"image": scaled, label: (first + i) % len(names)}

        spec = {
            "image": tf.TensorSpec(shape, dtype),
            label: tf.TensorSpec((), tf.int64),
        }
        return tf.data.Dataset.from_generator(examples, output_signature=spec)

    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        data_dir=root,
        file_format=file_format,
        split_datasets={
            name: split(*made)
            for name, made in zip(splits, ((12, 0), (6, 100), (3, 200)), strict=False)
        },
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=shape, dtype=dtype),
                label: tfds.features.ClassLabel(names=names),
            }
        ),
    )


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.storage.filesystem.SETTLED_NS", 0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tensorflow_datasets")
    write_tfds(root, "tiny_fixed", (8, 9, 1))
    write_tfds(root, "tiny_varying", (None, None, 3))
    write_tfds(root, "tiny_array", (None, None, 3), file_format="array_record")
    write_tfds(root, "tiny_unlabelled", (8, 9, 1), label="other")
    return root


@pytest.mark.parametrize(
    "name, kind, channels, size",
    [
        ("tiny_fixed", "pixels", 1, (8, 9)),
        ("tiny_varying", "bytes", 3, None),
        ("tiny_array", "bytes", 3, None),
    ],
)
def test_prepared_data_set(
    name: str,
    kind: str,
    channels: int,
    size: tuple[int, int] | None,
    prepared: Path,
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
    monkeypatch.setattr("training.data.sources.cache.MEMORY_SHARE", 0.0)
    with pytest.raises(UsageError, match=r"half of the free memory, got 0\.0 GiB with"):
        load_dataset(f"tfds:{prepared / 'tiny_fixed' / '1.0.0'}")


def test_images_above_a_gibibyte_stay_encoded(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = "training.data.sources.tfds.PIXELS_BELOW_BYTES"
    monkeypatch.setattr(limit, 8 * 9 * 18 - 1)
    dataset = load_dataset(f"tfds:{prepared / 'tiny_fixed' / '1.0.0'}")
    assert {split.kind for split in dataset.splits.values()} == {"bytes"}
    assert dataset.size == (8, 9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny_fixed", "tiny_varying", "tiny_array"])
def test_data_set_kept_on_disk_is_the_one_in_memory(
    name: str, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_RESNET_CACHE", str(tmp_path))
    place = f"tfds:{prepared / name / '1.0.0'}"
    in_memory = load_dataset(place)
    monkeypatch.setattr("training.data.sources.cache.MEMORY_SHARE", 0.0)
    on_disk = load_dataset(place, reading=ReadOptions(cache="decoded"))
    assert on_disk.notes == (f"images cached in {tmp_path}",)
    assert (on_disk.size, on_disk.channels) == (in_memory.size, in_memory.channels)
    for split, theirs in in_memory.splits.items():
        ours = on_disk.splits[split]
        assert (ours.kind, labels_of(on_disk, split)) == (
            "files",
            labels_of(in_memory, split),
        )
        for i in range(len(theirs)):
            images = (tf.io.decode_image(s.encoded(i)) for s in (ours, theirs))
            assert np.array_equal(*images)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("tfds/**/*")}
    load_dataset(place, reading=ReadOptions(cache="disk"))
    assert {
        path: path.stat().st_mtime_ns for path in tmp_path.glob("tfds/**/*")
    } == made


def test_extraction_that_was_interrupted_is_begun_again(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_RESNET_CACHE", str(tmp_path))
    place = f"tfds:{prepared / 'tiny_array' / '1.0.0'}"
    before = load_dataset(place, reading=ReadOptions(cache="disk")).splits["train"]
    first = Path(before.images[0].numpy().decode())
    first.write_bytes(b"half")
    (first.parents[1] / "examples.json").unlink()
    after = load_dataset(place, reading=ReadOptions(cache="disk")).splits["train"]
    assert after.encoded(0)[1:4] == b"PNG"


@pytest.mark.slow
def test_splits_go_by_their_usual_names(tmp_path: Path) -> None:
    write_tfds(tmp_path, "named", (8, 9, 1), splits=("Training", "Testing"))
    dataset = load_dataset(f"tfds:{tmp_path / 'named' / '1.0.0'}")
    assert sizes(dataset) == {"train": 12, "test": 6}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"shape": (None, None, 4)}, "must have 1 or 3 channels, got 4; "),
        ({"names": ("x",)}, "must have at least 2 classes, got 1"),
        (
            {"names": ("x", "y", "")},
            "labels of split train .* must be 0 to 1, .*, got 2",
        ),
        ({"names": ("x", "y\tz", "z")}, r"control characters, got 'y\\tz' for class 1"),
        (
            {"splits": ("train", "val", "validation")},
            "must have one val split, got 'val' and 'validation'",
        ),
    ],
)
def test_data_set_that_cannot_be_trained_on_is_refused(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write_tfds(tmp_path, "odd", **{"shape": (8, 9, 1), **options})
    with pytest.raises(UsageError, match=message):
        load_dataset(f"tfds:{tmp_path / 'odd' / '1.0.0'}")


@pytest.mark.parametrize("cache", ["none", "disk"])
@pytest.mark.parametrize("lengths", [[], ["0"]])
@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_split_is_refused(
    split: str,
    lengths: list[str],
    cache: Literal["none", "disk"],
    prepared: Path,
    tmp_path: Path,
) -> None:
    place = tmp_path / "tiny_fixed" / "1.0.0"
    shutil.copytree(prepared / "tiny_fixed" / "1.0.0", place)
    info = place / "dataset_info.json"
    stored = json.loads(info.read_text("utf-8"))
    (found,) = (part for part in stored["splits"] if part["name"] == split)
    found["shardLengths"] = lengths
    info.write_text(json.dumps(stored), "utf-8")
    said = f"^{split} split of tfds:tiny_fixed must hold images, got none; prepare"
    with pytest.raises(UsageError, match=said):
        load_dataset(f"tfds:{place}", reading=ReadOptions(cache=cache))


@pytest.mark.slow
def test_a_data_set_prepared_anew_with_the_same_sizes_is_extracted_again(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_RESNET_CACHE", str(tmp_path / "cache"))
    place, disk = tmp_path / "data" / "tiny_fixed" / "1.0.0", ReadOptions(cache="disk")
    shutil.copytree(prepared / "tiny_fixed" / "1.0.0", place)
    before = load_dataset(f"tfds:{place}", reading=disk)
    write_tfds(tmp_path / "new", "tiny_fixed", (8, 9, 1), first=1)
    for file in (tmp_path / "new" / "tiny_fixed" / "1.0.0").iterdir():
        state = (place / file.name).stat()
        assert file.stat().st_size == state.st_size
        (place / file.name).write_bytes(file.read_bytes())
        os.utime(place / file.name, ns=(state.st_atime_ns, state.st_mtime_ns))
    after = load_dataset(f"tfds:{place}", reading=disk)
    assert after.digest == load_dataset(f"tfds:{place}").digest
    for split in after.splits:
        turned = [(label + 1) % 3 for label in labels_of(before, split)]
        assert labels_of(after, split) == turned


@pytest.mark.parametrize("name", ["tiny_fixed", "tiny_array"])
def test_an_extracted_file_that_is_another_is_extracted_again(
    name: str, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_RESNET_CACHE", str(tmp_path))
    place, disk = f"tfds:{prepared / name / '1.0.0'}", ReadOptions(cache="disk")
    before = load_dataset(place, reading=disk)
    first, second, *_ = before.splits["train"].images.numpy().tolist()
    original = Path(first.decode()).read_bytes()
    Path(first.decode()).write_bytes(Path(second.decode()).read_bytes())
    again = load_dataset(place, reading=disk)
    assert again.splits["train"].encoded(0) == original
    assert again.digest == before.digest == load_dataset(place).digest


@pytest.mark.parametrize("cache", ["none", "disk"])
@pytest.mark.parametrize("whole", [0, 100, None], ids=["empty", "cut", "gone"])
@pytest.mark.parametrize("name", ["tiny_fixed", "tiny_array"])
def test_damaged_shard_is_reported(
    name: str,
    whole: int | None,
    cache: Literal["none", "disk"],
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KERAS_RESNET_CACHE", str(tmp_path / "cache"))
    folder = shutil.copytree(prepared / name / "1.0.0", tmp_path / name / "1.0.0")
    [shard] = folder.glob("*-train.*")
    if whole is None:
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:whole])
    message = f"^files of split train of tfds:{name} must be complete, got "
    message += r"[^\n]+; prepare it"
    with pytest.raises(UsageError, match=message):
        load_dataset(f"tfds:{folder}", reading=ReadOptions(cache=cache))


@pytest.mark.parametrize("cache", ["none", "disk"])
def test_image_above_the_limit_is_reported(
    cache: Literal["none", "disk"],
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KERAS_RESNET_CACHE", str(tmp_path))
    place = f"tfds:{prepared / 'tiny_varying' / '1.0.0'}"  # sides of 8 to 19
    with pytest.raises(UsageError, match=r"number \d+ of train of tfds:tiny_varying: "):
        load_dataset(place, reading=ReadOptions(cache=cache, max_pixels=15 * 15))
    reading = ReadOptions(skip_bad_images=True, cache=cache, max_pixels=15 * 15)
    dataset = load_dataset(place, reading=reading)
    assert sizes(dataset) == {"train": 8, "test": 6}
    assert dataset.notes[-1] == "skipped 4 bad images of 12"
    reading = ReadOptions(skip_bad_images=True, cache=cache, max_pixels=1)
    with pytest.raises(UsageError, match=r"^train of .* valid images, got 12 bad"):
        load_dataset(place, reading=reading)


@pytest.mark.parametrize(
    "argument, message",
    [
        ("", "must be named, got 'tfds:'; try tfds:cifar10"),
        (
            "no_such_data_set",
            "must be downloadable or prepared .*, got DatasetNotFoundError",
        ),
        ("no such/name:9", "must be downloadable or prepared on disk"),
        ("{prepared}", "must be downloadable or prepared on disk"),
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


def found_by_name(folder: Path) -> tuple[str, int]:
    """Loads a data set in a process that has not yet read where they are."""
    assert "tensorflow_datasets" not in sys.modules
    os.environ["TFDS_DATA_DIR"] = str(folder)
    dataset = load_dataset("tfds:tiny_fixed")
    return dataset.name, len(dataset.splits["train"])


@pytest.mark.slow
def test_data_set_is_found_by_its_name(prepared: Path) -> None:
    assert elsewhere(found_by_name, prepared) == ("tfds:tiny_fixed", 12)


@pytest.mark.slow
def test_images_of_16_bits_keep_their_highest(tmp_path: Path) -> None:
    for name, dtype in (("deep", np.uint16), ("plain", np.uint8)):
        write_tfds(tmp_path, name, (8, 8, 1), dtype=dtype)
    deep, plain = (
        load_dataset(f"tfds:{tmp_path}/{name}/1.0.0").splits["train"].images
        for name in ("deep", "plain")
    )
    assert np.array_equal(deep, plain)


@pytest.mark.parametrize("size", [8, None])
def test_images_of_floats_are_refused(size: int | None, tmp_path: Path) -> None:
    write_tfds(tmp_path, "floats", (size, size, 1), dtype=np.float32)
    with pytest.raises(UsageError, match="must be uint8 or uint16, got float32; prep"):
        load_dataset(f"tfds:{tmp_path}/floats/1.0.0")
