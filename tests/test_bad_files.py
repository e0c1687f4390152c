"""Files that are no images, or odd ones: named, or skipped and counted, or read."""

import os
from pathlib import Path

import bombs
import numpy as np
import pytest
import tensorflow as tf
from bad_files import CASES, make
from data import noise, sizes, write_classes, write_image
from forked import elsewhere

from keras_resnet.errors import UsageError
from training.data.decoding import graph
from training.data.reading import ReadOptions
from training.data.sources import load_dataset
from training.data.sources.files import inspect_headers
from training.data.sources.inspection import inspect
from training.experiment.augmentation import training_data
from training.experiment.infer_preprocessing import infer_preprocessing
from training.recipes.recipe import Recipe

BAD = [name for name, case in CASES.items() if case.said]
GOOD = [name for name, case in CASES.items() if case.said is None]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    write_classes(folder, count=5)
    return folder


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_named(name: str, photos: Path) -> None:
    case = CASES[name]
    bad = photos / "b" / case.name
    make(case, bad)
    with pytest.raises(UsageError) as caught:
        load_dataset(f"folder:{photos}")
    message = str(caught.value)
    assert f"got {bad}: " in message
    assert case.said in message
    assert "(1 bad of 11); remove it or use --skip-bad-images" in message
    assert "\n" not in message


def test_libjpeg_prints_nothing(
    photos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (photos / "b" / "damaged.jpg").write_bytes(CASES["JPEG, damaged pixels"].make)
    load_dataset(f"folder:{photos}")
    assert "Corrupt JPEG data" not in capfd.readouterr().err


def test_bad_files_are_skipped_and_counted(photos: Path) -> None:
    for name in BAD:
        make(CASES[name], photos / "a" / CASES[name].name)
    dataset = load_dataset(
        f"folder:{photos}", reading=ReadOptions(skip_bad_images=True)
    )
    assert sizes(dataset) == {"train": 8, "test": 2}
    assert dataset.notes[0] == f"skipped {len(BAD)} bad files of {10 + len(BAD)}"


@pytest.mark.slow
def test_odd_files_are_read(photos: Path) -> None:
    """And what TensorFlow was found to read in the check, it reads in training."""
    for name in GOOD:
        make(CASES[name], photos / "a" / CASES[name].name)
    dataset = load_dataset(f"folder:{photos}")
    recipe = Recipe(batch_size=4, image_size=8)
    preprocessing = infer_preprocessing(recipe, dataset, (8, 8))
    batches = training_data(recipe, dataset, preprocessing).batches(epoch=0)
    trained = sum(len(labels) for _, labels in batches)
    assert trained == len(dataset.splits["train"])
    files = [name for name in GOOD if isinstance(CASES[name].make, bytes)]
    assert sum(sizes(dataset).values()) == 10 + len(files)


def test_limit_is_the_recipes(tmp_path: Path) -> None:
    write_image(tmp_path / "image.png", noise(20, 30, 3))
    path = str(tmp_path / "image.png")
    assert inspect(path, 600).bad is None
    said = inspect(path, 599).bad
    assert said == "30×20, more than the 599 pixels of --max-pixels"


def test_a_limit_above_pillows_own_is_respected() -> None:
    bomb = bombs.png(13_500)  # Pillow raises from 179 million pixels on
    (found,) = inspect_headers([bomb], 182_249_999)
    assert found.bad == "13500×13500, more than the 182249999 pixels of --max-pixels"
    assert inspect_headers([bomb], 182_250_000)[0].bad is None


def test_class_that_is_a_link_to_the_classes_is_refused(photos: Path) -> None:
    (photos / "c").symlink_to(photos)
    with pytest.raises(
        UsageError, match=r"folder that contains it, got .*/c linked to "
    ):
        load_dataset(f"folder:{photos}")


def test_class_may_be_a_link_to_elsewhere(photos: Path, tmp_path: Path) -> None:
    write_classes(tmp_path / "more", "c", count=5)
    (photos / "c").symlink_to(tmp_path / "more" / "c")
    assert load_dataset(f"folder:{photos}").labels == ("a", "b", "c")


def refusal(place: Path) -> str:
    """What another user, for whom permissions count, is told of ``photos`` there."""
    os.chdir(place)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    with pytest.raises(UsageError) as caught:
        load_dataset("folder:photos")
    return str(caught.value)


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
@pytest.mark.parametrize("what", ["photos", "photos/b", "photos/b/deep"])
def test_folder_without_permission_is_named(what: str, tmp_path: Path) -> None:
    write_classes(tmp_path / "photos", count=5)
    write_image(tmp_path / "photos" / "b" / "deep" / "0.png", noise(9, 9, 3))
    (tmp_path / what).chmod(0)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    said = f"folder must be readable, got {what}: Permission denied"
    assert elsewhere(refusal, tmp_path) == said
    (tmp_path / what).chmod(0o755)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_whatever_passes_the_check_can_be_read(seed: int) -> None:
    """Files damaged at random."""
    rng = np.random.default_rng(seed)
    sources = [CASES[name].make for name in GOOD]
    for data in (data for data in sources if isinstance(data, bytes)):
        for _ in range(20):
            damaged = bytearray(data)
            for place in rng.integers(0, len(data), 3):
                damaged[place] = rng.integers(256)
            damaged = bytes(damaged[: rng.integers(len(data) // 2, 2 * len(data))])
            if inspect(damaged, 10**6).bad is None:
                graph.decode(tf.constant(damaged), 3)


def test_a_bmp_cut_off_before_its_pixels_is_refused() -> None:
    """Its bytes, which are no text, are not part of the error."""
    data = b"BM\x84\4\0\0\0\0\0\0\xbe\3\0\0(\0\0\0\t\0\0\0\t\0\0\0\1\0\x18\0" + bytes(
        36
    )
    with pytest.raises(tf.errors.InvalidArgumentError):
        graph.decode(tf.constant(data), 3)
    assert inspect(data, 10**6).bad
