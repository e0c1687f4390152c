"""Training images kept decoded: their pixels, and when they are made again."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data import encode, gathered, noise, pixel_dataset, smooth, write_classes
from PIL import Image
from test_cache import home  # noqa: F401
from test_orientation import tag, with_exif

from keras_resnet.errors import Stopped, UsageError
from training.data.pipeline import TrainingData
from training.data.preprocessing import Preprocessing
from training.data.sources import cache, load_dataset
from training.data.sources.decoded import decode_once
from training.data.types import Dataset, Size, Split
from training.experiment import augmentation
from training.experiment.experiment import build_experiment
from training.recipes.recipe import Recipe
from training.storage import filesystem

# 21 = 24 · 0.875, as 224 = 256 · 0.875.
RECIPE = Recipe(batch_size=8, augmentation="area_crop", cache="decoded")
SQUARE = Preprocessing((21, 21), 3, 0.875, (0.0,) * 3, (1.0,) * 3)


@pytest.fixture
def photos(tmp_path: Path, home: Path) -> Path:  # noqa: F811
    """JPEG files; those of the first class are stored lying on their side."""
    for i, name in enumerate("aaabbb"):
        data = encode(smooth(60, 91, seed=i), "JPEG", quality=99, subsampling=0)
        path = tmp_path / "photos" / name / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(with_exif(tag(6), data=data) if name == "a" else data)
    return tmp_path / "photos"


def loaded(photos: Path) -> Dataset:
    return load_dataset(f"folder:{photos}")


def with_copies(
    dataset: Dataset, recipe: Recipe, preprocessing: Preprocessing = SQUARE
) -> tuple[TrainingData, tuple[str, ...]]:
    data = augmentation.training_data(recipe, dataset, preprocessing)
    return augmentation.with_decoded_images(data, recipe, preprocessing.crop)


def place(split: Split, index: int) -> Path:
    return Path(split.images[index].numpy().decode())


def made(home: Path) -> dict[Path, int]:  # noqa: F811
    files = (home / "decoded").glob("*/??/*")
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.slow
def test_small_lossless_images_train_to_the_same_bit(
    tmp_path: Path,
    home: Path,  # noqa: F811
) -> None:
    write_classes(tmp_path / "photos", count=4)  # PNG, 9×12
    dataset = loaded(tmp_path / "photos")
    cached, notes = with_copies(dataset, RECIPE)
    plain, none = with_copies(dataset, replace(RECIPE, cache="none"))
    assert cached.split.kind == "decoded" and plain.split.kind == "files"
    assert notes[0].startswith("6 of 6 images decoded now, 0.00 GiB in ") and not none
    images, labels = gathered(cached.batches(epoch=1))
    expected, expected_labels = gathered(plain.batches(epoch=1))
    assert np.array_equal(images, expected)
    assert np.array_equal(labels, expected_labels)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_copy_is_upright_and_covers_the_given_size(
    channels: int, photos: Path
) -> None:
    split = loaded(photos).splits["train"]
    copies, _ = decode_once(split, (20, 24), channels)
    # Of 60×91, 24×36 cover 24×20. Their aspect leaves out the lowest row.
    data = place(copies, 0).read_bytes()
    found = np.frombuffer(data[:-32], np.uint8).reshape(36, 24, channels)
    assert hashlib.sha256(data[:-32]).digest() == data[-32:]
    seed = int(place(split, 0).stem)
    upright = Image.fromarray(np.rot90(smooth(60, 91, seed=seed), -1))
    shrunk = upright.convert("RGB" if channels == 3 else "L").resize(
        (24, 36), Image.Resampling.BILINEAR, box=(0, 0, 60, 90)
    )
    difference = np.abs(found.squeeze() - np.asarray(shrunk, float))
    assert difference.max() <= 3 and difference.mean() < 1
    assert copies.digest == split.digest and copies.labels is split.labels


@pytest.mark.parametrize(
    ("fields", "size", "crop", "least"),
    [
        ({}, (224, 224), 0.875, (256, 256)),
        ({}, (32, 48), 1.0, (32, 48)),
        ({"train_size": 176, "progressive": (0.5,)}, (224, 224), 0.875, (201, 201)),
        ({"cache_side": 320}, (224, 224), 0.875, (320, 320)),
        ({"cache_side": 64}, (32, 48), 1.0, (64, 96)),
    ],
)
def test_the_size_follows_from_the_training_images(
    fields: dict[str, Any],
    size: Size,
    crop: float,
    least: Size,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Size] = []

    def decode(split: Split, least: Size, channels: int) -> tuple[Split, str]:
        asked.append(least)
        return split, ""

    monkeypatch.setattr(augmentation, "decode_once", decode)
    preprocessing = replace(SQUARE, size=size, crop=crop)
    with_copies(loaded(photos), replace(RECIPE, **fields), preprocessing)
    assert asked == [least]
    in_memory = pixel_dataset(4)
    data, notes = with_copies(in_memory, replace(RECIPE, **fields), preprocessing)
    assert data.split is in_memory.splits["train"] and notes == () and len(asked) == 1


def test_interrupted_work_goes_on_and_is_done_once(
    photos: Path,
    home: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    split = loaded(photos).splits["train"]
    assert len(split) == 4
    write, left = cache.write_copy, iter([True] * 2)

    def stopped(copy: Path, data: bytes) -> bool:
        if next(left, False):
            return write(copy, data)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cache, "write_copy", stopped)
        decode_once(split, (24, 24), 3)
    first = made(home)
    assert len(first) == 2
    _, note = decode_once(split, (24, 24), 3)
    assert note.startswith("2 of 4 images decoded now, ")
    whole = made(home)
    assert first.items() <= whole.items() and len(whole) == 4
    _, note = decode_once(split, (24, 24), 3)
    assert note.startswith("0 of 4 ") and made(home) == whole
    _, note = decode_once(split, (24, 25), 3)
    assert note.startswith("4 of 4 ") and len(made(home)) == 8


def test_a_damaged_copy_is_found_and_made_again(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "SETTLED_NS", 0)  # findings are kept at once
    dataset = loaded(photos)
    data, _ = with_copies(dataset, RECIPE)
    with_copies(dataset, RECIPE)  # keeps the findings
    copy = place(data.split, 0)
    intact = copy.read_bytes()
    for other in (b"", b"half", bytes(len(intact))):
        copy.write_bytes(other)
        with_copies(dataset, RECIPE)
        assert copy.read_bytes() == intact
    copy.write_bytes(bytes(len(intact)))
    with pytest.raises(Stopped, match=f"got {copy}: its contents have changed"):
        gathered(data.batches(epoch=0))


def test_an_original_that_has_changed_is_reported(photos: Path) -> None:
    split = loaded(photos).splits["train"]
    path = place(split, 0)
    path.write_bytes(encode(noise(9, 9, 3, seed=8), "JPEG"))
    with pytest.raises(Stopped, match=f"got {path}: its contents have changed"):
        decode_once(split, (24, 24), 3)
    path.unlink()
    with pytest.raises(Stopped, match=f"got {path}: No such file"):
        decode_once(split, (24, 24), 3)


def test_too_little_room_is_reported_before_anything_is_made(
    photos: Path,
    home: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache, "DISK_SHARE", 0.0)
    with pytest.raises(UsageError, match=r"disk space at .* use --cache none"):
        decode_once(loaded(photos).splits["train"], (24, 24), 3)
    assert made(home) == {}


def test_several_may_make_the_copies_at_once(photos: Path, home: Path) -> None:  # noqa: F811
    split = loaded(photos).splits["train"]
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda _: decode_once(split, (24, 24), 3)[0], range(2))
    one, other = (found.facts.fingerprints.numpy() for found in results if found.facts)
    assert np.array_equal(one, other) and len(made(home)) == 4
    assert not [*home.glob("decoded/*/??/.*")]  # temporary files


def test_nothing_is_decoded_for_a_recipe_that_is_refused(
    photos: Path,
    home: Path,  # noqa: F811
) -> None:
    recipe = Recipe(
        model="lenet5",
        image_size=32,
        dataset=f"folder:{photos}",
        cache="decoded",
        freeze=("stages1",),
    )
    with pytest.raises(UsageError, match=r"^freeze must be .* got 'stages1'$"):
        build_experiment(recipe)
    assert made(home) == {}
