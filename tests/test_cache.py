"""Images kept near: in memory, or copied to a local disk."""

import os
import shutil
import sys
from pathlib import Path
from typing import Literal

import pytest
from data import encode, gathered, labels_of, sizes, smooth, write_classes
from test_orientation import tag, with_exif

from keras_resnet.errors import UsageError
from training.data import pipeline
from training.data.preprocessing import Preprocessing
from training.data.reading import ReadOptions
from training.data.sources import cache, load_dataset
from training.data.types import Dataset
from training.experiment.augmentation import training_data
from training.experiment.infer_preprocessing import infer_preprocessing
from training.recipes.recipe import Recipe
from training.storage import filesystem

Mode = Literal["none", "memory", "disk"]
MODES: tuple[Mode, ...] = ("none", "memory", "disk")
KINDS = {"none": "files", "memory": "bytes", "disk": "files"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_RESNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    write_classes(folder, count=4)
    for i in range(4):
        data = encode(smooth(60 + i, 90 - i, seed=i), "JPEG")
        (folder / "a" / f"{i}.jpg").write_bytes(data)
    turned = with_exif(tag(6), data=encode(smooth(30, 50), "JPEG"))
    (folder / "b" / "turned.jpg").write_bytes(turned)
    return folder


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("gs://b/c", "path must be local, got the URL 'gs://b/c'; "),
        ("\udcff", "folder of the cache must be UTF-8, got '.*udcff'; rename it"),
    ],
)
def test_the_folder_is_local_and_its_name_text(
    place: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_RESNET_CACHE", place)
    write_classes(tmp_path / "photos")
    with pytest.raises(UsageError, match=said):
        loaded("photos", "disk")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def copies(home: Path) -> list[Path]:
    return [path for path in home.glob("??/*") if path.is_file()]


def loaded(place: object, mode: Mode, *, skip: bool = False) -> Dataset:
    return load_dataset(f"folder:{place}", reading=ReadOptions(skip, mode))


def trained_on(dataset: Dataset) -> tuple[bytes, bytes]:
    """All that an epoch of training reads, and all that evaluation does."""
    recipe = Recipe(batch_size=4, image_size=24, augmentation="area_crop")
    preprocessing = infer_preprocessing(recipe, dataset, (24, 24))
    training = training_data(recipe, dataset, preprocessing).batches(epoch=2)
    evaluated = pipeline.evaluation_batches(dataset.splits["test"], preprocessing, 4)
    seen, tested = gathered(training)[0], gathered(evaluated)[0]
    return seen.tobytes(), tested.tobytes()


@pytest.mark.slow
def test_what_is_read_is_the_same_to_the_bit(photos: Path, home: Path) -> None:
    datasets = {mode: loaded(photos, mode) for mode in MODES}
    for mode, dataset in datasets.items():
        assert dataset.splits["train"].kind == KINDS[mode]
        assert sizes(dataset) == sizes(datasets["none"])
        for split in dataset.splits:
            assert labels_of(dataset, split) == labels_of(datasets["none"], split)
    seen = trained_on(datasets["none"])
    assert trained_on(datasets["disk"]) == seen
    for path in photos.rglob("*.*"):  # which memory needs no more
        path.write_bytes(b"")
    assert trained_on(datasets["memory"]) == seen
    assert datasets["memory"].notes[0].startswith("cached in memory: 0.00 GiB")


def test_copies_are_made_once(photos: Path, home: Path) -> None:
    first = loaded(photos, "disk")
    assert first.notes[0] == f"cached in {home}: 13 of 13 copied now"
    made = {path: path.stat().st_mtime_ns for path in copies(home)}
    assert len(made) == 13
    again = loaded(photos, "disk")
    assert again.notes[0] == f"cached in {home}: 0 of 13 copied now"
    assert {path: path.stat().st_mtime_ns for path in copies(home)} == made
    stored = [path.decode() for path in again.splits["train"].images.numpy()]
    assert all(path.startswith(f"{home}/") for path in stored)


def test_a_changed_file_is_copied_again(photos: Path, home: Path) -> None:
    before = loaded(photos, "disk").splits["train"].encoded(0)
    for i, path in enumerate((photos / "a").iterdir()):
        path.write_bytes(encode(smooth(20, 20, seed=9 + i), "JPEG"))
    dataset = loaded(photos, "disk")
    assert "8 of 13 copied now" in dataset.notes[0]
    assert dataset.splits["train"].encoded(0) != before


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("other", [b"half", encode(smooth(9, 9), "JPEG"), b""])
def test_a_copy_that_is_another_is_made_again(
    other: bytes,
    settled: bool,
    photos: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if settled:  # the state of all files can be relied on
        monkeypatch.setattr(filesystem, "SETTLED_NS", 0)
    before = loaded(photos, "disk").splits["train"]
    loaded(photos, "disk")
    copy = Path(before.images[0].numpy().decode())
    assert before.origins is not None
    original = Path(before.origins[0].numpy().decode()).read_bytes()
    state = copy.stat()
    copy.write_bytes(other.ljust(len(original), b"\0")[: len(original)])
    os.utime(copy, ns=(state.st_atime_ns, state.st_mtime_ns))
    dataset = loaded(photos, "disk")
    assert "1 of 13 copied now" in dataset.notes[0]
    assert dataset.splits["train"].encoded(0) == original
    assert copy.read_bytes() == original


@pytest.mark.parametrize("mode", MODES)
def test_bad_files_are_named_by_their_own_place(
    mode: Mode, photos: Path, home: Path
) -> None:
    (photos / "b" / "bad.jpg").write_bytes(b"no image")
    (photos / "b" / "loop.jpg").symlink_to(photos / "b" / "loop.jpg")
    shutil.copy(photos / "b" / "0.png", photos / "b" / os.fsdecode(b"\xff.png"))
    with pytest.raises(UsageError, match=r"photos/b/bad\.jpg: not an image file \(3 b"):
        loaded(photos, mode)
    dataset = loaded(photos, mode, skip=True)
    assert "skipped 3 bad files of 16" in dataset.notes
    assert sum(sizes(dataset).values()) == 13


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_fails_once_is_out(
    mode: Mode, photos: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, read = iter([True]), filesystem.read

    def unsteady(place: str) -> bytes:
        if place.endswith("turned.jpg") and next(once, False):
            raise OSError("connection reset")
        return read(place)

    monkeypatch.setattr(filesystem, "read", unsteady)
    dataset = loaded(photos, mode, skip=True)
    assert "skipped 1 bad files of 13" in dataset.notes
    assert sum(sizes(dataset).values()) == 12
    split = dataset.splits["train"]
    batches = pipeline.evaluation_batches(split, Preprocessing((9, 9), 3, 1, (), ()), 4)
    assert len(gathered(batches)[0]) == len(split)


@pytest.mark.parametrize("mode", MODES)
def test_files_keep_their_names(mode: Mode, photos: Path, home: Path) -> None:
    for split in loaded(photos, mode).splits.values():
        assert split.origins is not None
        for i, place in enumerate(split.origins.numpy()):
            assert Path(place.decode()).read_bytes() == split.encoded(i)
            assert place.decode().startswith(f"{photos}/")


@pytest.mark.parametrize(
    "mode, share, message",
    [
        ("memory", "MEMORY_SHARE", "half of the free memory, got .*; use --cache disk"),
        ("disk", "DISK_SHARE", "disk space at .*cache, got .* set KERAS_RESNET_CACHE"),
    ],
)
def test_too_little_room_is_reported_before_anything_is_copied(
    mode: Mode,
    share: str,
    message: str,
    photos: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache, share, 0.0)
    with pytest.raises(UsageError, match=message):
        loaded(photos, mode)
    assert copies(home) == []


def test_cache_that_cannot_be_written_is_reported(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KERAS_RESNET_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UsageError, match=r"output path must be writable, got .*/cache"):
        loaded(photos, "disk")


@pytest.mark.parametrize(
    "variables, folder",
    [
        ({"KERAS_RESNET_CACHE": "/x"}, "/x"),
        ({"XDG_CACHE_HOME": "/y"}, "/y/keras-resnet"),
        ({"HOME": "/z"}, "/z/.cache/keras-resnet"),
    ],
)
def test_place_of_copies(
    variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KERAS_RESNET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache.folder() == Path(folder)


def test_a_user_without_a_home_folder_names_the_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("KERAS_RESNET_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "pwd", None)  # as where a container's user is none
    with pytest.raises(UsageError, match="set KERAS_RESNET_CACHE to a folder"):
        cache.folder()
