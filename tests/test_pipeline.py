import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import tensorflow as tf
from data import encode, gathered, noise, pixel_dataset, smooth
from test_orientation import tag, with_exif

from keras_resnet.errors import UsageError
from training.data import pipeline
from training.data.decoding import images
from training.data.preprocessing import Preprocessing
from training.data.sources.inspection import image_info, inspect
from training.data.types import Dataset, Split, pixels, strings
from training.experiment import infer_preprocessing
from training.experiment.augmentation import (
    augmentation_names,
    resolve_geometry,
    training_data,
)
from training.recipes.recipe import Recipe

PLAIN = Recipe(augmentation="none", flip="off", batch_size=4)


def file_dataset(folder: Path, count: int = 7) -> Dataset:
    """Photograph-like JPEG files of several sizes."""
    paths = []
    for i in range(count):
        path = folder / f"{i}.jpg"
        path.write_bytes(encode(smooth(40 + 3 * i, 61 - 2 * i, seed=i), "JPEG"))
        paths.append(str(path))
    split = strings(paths, np.arange(count))
    labels = tuple(str(i) for i in range(count))
    return Dataset("files", {"train": split, "test": split}, labels, 3, None, True)


def preprocessing(recipe: Recipe, dataset: Dataset) -> Preprocessing:
    return infer_preprocessing.infer_preprocessing(recipe, dataset, default=(16, 24))


def epoch(
    recipe: Recipe, dataset: Dataset, epoch: int = 0, first_step: int = 0
) -> tf.data.Dataset:
    size = dataset.size or (16, 24)
    way_in = Preprocessing(size, dataset.channels, 1.0, (), ())
    return training_data(recipe, dataset, way_in).batches(
        epoch=epoch, first_step=first_step
    )


def test_reading_is_traced_once_for_all_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = pixel_dataset(5)
    way_in = preprocessing(PLAIN, dataset)
    data = training_data(replace(PLAIN, batch_size=3), dataset, way_in)
    read = Mock(side_effect=pipeline.read_window)
    monkeypatch.setattr(pipeline, "read_window", read)
    for number in range(3):
        assert len(gathered(data.batches(epoch=number))[0]) == 5
    assert read.call_count == 1


@pytest.mark.parametrize(
    "count, batch, steps",
    [(12, 4, [4, 4, 4]), (13, 5, [5, 5, 3]), (5, 8, [5]), (1, 4, [1]), (2, 1, [1, 1])],
)
def test_an_epoch_has_each_example_once(
    count: int, batch: int, steps: list[int]
) -> None:
    dataset = pixel_dataset(count)
    batches = epoch(replace(PLAIN, batch_size=batch), dataset)
    assert [len(labels) for _, labels in batches] == steps
    found, labels = gathered(batches)
    assert (found.dtype, labels.dtype) == (np.uint8, np.int64)
    assert sorted(labels) == list(range(count))
    assert np.array_equal(found, dataset.splits["train"].images.numpy()[labels])


def test_no_iterator_waits_for_a_tuner() -> None:
    dataset = pixel_dataset(8)
    way_in = Preprocessing(dataset.size or (1, 1), dataset.channels, 1.0, (), ())
    evaluated = pipeline.evaluation_batches(dataset.splits["test"], way_in, 4)
    for batches in (epoch(PLAIN, dataset), evaluated):
        assert batches.dataset.options().autotune.enabled is False


@pytest.mark.slow
def test_order_is_a_function_of_seed_and_epoch() -> None:
    dataset = pixel_dataset(40)

    def order(seed: int, number: int) -> tuple[int, ...]:
        return tuple(gathered(epoch(replace(PLAIN, seed=seed), dataset, number))[1])

    keys = [(0, 0), (0, 1), (1, 0), (1, 1), (2**31 - 1, 0)]
    orders = [order(*key) for key in keys]
    assert len(set(orders)) == len(keys)
    assert tuple(range(40)) not in orders
    assert orders[:2] == [order(*key) for key in keys[:2]]


def test_augmentation_differs_by_epoch_and_seed() -> None:
    dataset = pixel_dataset(8, (16, 16, 1))
    recipe = replace(PLAIN, augmentation="pad_crop", pad=4)

    def by_label(seed: int, number: int) -> bytes:
        found, labels = gathered(epoch(replace(recipe, seed=seed), dataset, number))
        return found[np.argsort(labels)].tobytes()

    assert len({by_label(0, 0), by_label(0, 1), by_label(1, 0)}) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "augmentation"),
    [
        ("pixels", "pad_crop"),
        ("pixels", "area_crop"),
        ("files", "scale_crop"),
        ("files", "area_crop"),
    ],
)
def test_an_epoch_can_be_entered_anywhere(
    kind: str, augmentation: str, tmp_path: Path
) -> None:
    dataset = pixel_dataset(7, (20, 18, 3)) if kind == "pixels" else None
    dataset = dataset or file_dataset(tmp_path)
    recipe = Recipe(augmentation=augmentation, flip="on", batch_size=2, seed=5)
    whole_images, whole_labels = gathered(epoch(recipe, dataset, 3))
    for first in (1, 3):
        tail_images, tail_labels = gathered(epoch(recipe, dataset, 3, first))
        assert np.array_equal(tail_labels, whole_labels[2 * first :])
        assert np.array_equal(tail_images, whole_images[2 * first :])


@pytest.mark.parametrize("count, batch", [(12, 4), (13, 5), (5, 8), (1, 4)])
def test_evaluation_has_every_example_in_order(count: int, batch: int) -> None:
    dataset = pixel_dataset(count, (6, 9, 3))
    batches = pipeline.evaluation_batches(
        dataset.splits["test"], preprocessing(PLAIN, dataset), batch
    )
    found, labels = gathered(batches)
    assert labels.tolist() == list(range(count))
    assert np.array_equal(found, dataset.splits["test"].images)


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_deviation_are_those_of_the_training_images(channels: int) -> None:
    dataset = pixel_dataset(300, (5, 7, channels))
    shifted = pixels(np.full((9, 5, 7, channels), 255, np.uint8), np.arange(9))
    dataset = replace(dataset, splits={**dataset.splits, "test": shifted})
    found = preprocessing(PLAIN, dataset)
    values = dataset.splits["train"].images.numpy().astype(float)
    np.testing.assert_allclose(found.mean, values.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(found.deviation, values.std((0, 1, 2)), atol=1e-4)
    assert found.input_shape == (5, 7, channels)


def test_normalised_training_images_have_mean_0_and_deviation_1() -> None:
    dataset = pixel_dataset(50, (6, 6, 3))
    found = preprocessing(PLAIN, dataset)
    values = found.normalise(dataset.splits["train"].images).numpy()
    np.testing.assert_allclose(values.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(values.std((0, 1, 2)), 1, atol=1e-5)


def test_deviation_of_equal_images_is_one_level() -> None:
    split = pixels(np.full((4, 3, 3, 1), 7, np.uint8), np.arange(4))
    dataset = replace(pixel_dataset(4, (3, 3, 1)), splits={"train": split})
    assert preprocessing(PLAIN, dataset).deviation == (1.0,)


def test_statistics_need_not_see_every_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infer_preprocessing, "STATISTICS_FROM", 10)
    levels = np.repeat(np.arange(100, dtype=np.uint8), 16).reshape(100, 4, 4, 1)
    dataset = pixel_dataset(100, (4, 4, 1))
    dataset = replace(dataset, splits={"train": pixels(levels, np.arange(100))})
    first, again = preprocessing(PLAIN, dataset), preprocessing(PLAIN, dataset)
    assert first == again
    assert first.mean[0] == pytest.approx(np.round(first.mean[0] * 10) / 10)
    assert 20 < first.mean[0] < 80  # a sample from everywhere, not the first ten


@pytest.mark.parametrize(
    "augmentation, varying, kind, crop",
    [
        ("none", False, "none", 1.0),
        ("none", True, "none", 1.0),
        ("pad_crop", False, "pad_crop", 1.0),
        ("pad_crop", True, "pad_crop", 1.0),
        ("scale_crop", False, "scale_crop", 0.875),
        ("area_crop", True, "area_crop", 0.875),
        ("auto", False, "pad_crop", 1.0),
        ("auto", True, "area_crop", 0.875),
    ],
)
def test_geometry_and_crop(
    augmentation: str, varying: bool, kind: str, crop: float
) -> None:
    dataset = pixel_dataset(4)
    dataset = replace(dataset, size=None) if varying else dataset
    recipe = Recipe(augmentation=augmentation)
    assert resolve_geometry(recipe, dataset) == kind
    assert preprocessing(recipe, dataset).crop == crop
    assert preprocessing(replace(recipe, eval_crop=0.6), dataset).crop == 0.6


@pytest.mark.parametrize(
    "image_size, own, size",
    [
        (32, (8, 10), (32, 32)),
        (None, (8, 10), (8, 10)),
        (32, None, (32, 32)),
        (None, None, (16, 24)),
    ],
)
def test_size(
    image_size: int | None, own: tuple[int, int] | None, size: tuple[int, int]
) -> None:
    dataset = replace(pixel_dataset(2, (8, 10, 3)), size=own)
    found = preprocessing(replace(PLAIN, image_size=image_size), dataset)
    assert found.size == size
    batches = pipeline.evaluation_batches(dataset.splits["test"], found, 2)
    assert batches.dataset.element_spec[0].shape[1:] == (*size, 3)
    assert next(iter(batches))[0].shape == (2, *size, 3)


@pytest.mark.parametrize(
    "flip, mirrors, flipped",
    [
        ("auto", True, True),
        ("auto", False, False),
        ("on", False, True),
        ("off", True, False),
    ],
)
def test_flips(flip: str, mirrors: bool, flipped: bool) -> None:
    dataset = pixel_dataset(40, mirrors=mirrors)
    recipe = replace(PLAIN, flip=flip)
    data = training_data(recipe, dataset, Preprocessing((8, 8), 3, 1.0, (), ()))
    assert data.augmentation.flip == flipped
    found, labels = gathered(epoch(recipe, dataset))
    stored = dataset.splits["train"].images.numpy()[labels]
    mirrored = (found == stored[:, :, ::-1]).all((1, 2, 3))
    unchanged = (found == stored).all((1, 2, 3))
    assert (mirrored | unchanged).all()
    assert mirrored.any() == flipped


@pytest.mark.parametrize("pad, moved", [(None, 2), (0, 0), (5, 5)])
def test_pad_is_an_eighth_of_the_image(pad: int | None, moved: int) -> None:
    white = pixels(np.full((200, 16, 16, 1), 255, np.uint8), np.arange(200))
    dataset = replace(pixel_dataset(200, (16, 16, 1)), splits={"train": white})
    recipe = replace(PLAIN, augmentation="pad_crop", pad=pad, batch_size=200)
    found, _ = gathered(epoch(recipe, dataset))
    black_rows = (found[:, :, :, 0].max(2) == 0).sum(1)
    black_columns = (found[:, :, :, 0].max(1) == 0).sum(1)
    assert (black_rows.max(), black_columns.max()) == (moved, moved)


def test_preprocessing_round_trips_through_json() -> None:
    first = Preprocessing((12, 8), 3, 0.875, (1.5, 2.0, 3.25), (60.0, 61.5, 62.0))
    again = Preprocessing.from_dict(json.loads(json.dumps(first.to_dict())))
    assert again == first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "image_size", "eval_crop"),
    [(3, None, None), (1, None, 0.6), (3, 7, 0.6), (1, 7, None), (3, 31, 0.6)],
)
def test_serving_sees_the_pixels_of_evaluation(
    channels: int, image_size: int | None, eval_crop: float | None
) -> None:
    dataset = pixel_dataset(3, (16, 20, channels))
    recipe = replace(PLAIN, image_size=image_size, eval_crop=eval_crop)
    served_equals_evaluated(dataset.splits["test"], preprocessing(recipe, dataset))


@pytest.mark.slow
def test_serving_sees_the_pixels_of_evaluation_of_files(tmp_path: Path) -> None:
    dataset = file_dataset(tmp_path)
    found = preprocessing(Recipe(), dataset)
    assert (found.size, found.crop) == ((16, 24), 0.875)
    served_equals_evaluated(dataset.splits["test"], found)


def served_equals_evaluated(split: Split, found: Preprocessing) -> None:
    evaluated, labels = gathered(pipeline.evaluation_batches(split, found, 2))
    for index in labels:
        served = found.decode(tf.constant(split.encoded(index)))
        assert np.array_equal(served, evaluated[index])


@pytest.mark.slow
def test_bytes_and_files_and_pixels_are_one(tmp_path: Path) -> None:
    stored = noise(4, 16, 20, 3)
    encoded = [encode(image, "PNG") for image in stored]
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path, data in zip(paths, encoded, strict=True):
        path.write_bytes(data)
    splits = (
        pixels(stored, np.arange(4)),
        strings(encoded, np.arange(4)),
        strings([str(path) for path in paths], np.arange(4)),
    )
    found = Preprocessing((8, 8), 3, 0.875, (), ())
    first, *others = (
        gathered(pipeline.evaluation_batches(split, found, 4))[0] for split in splits
    )
    for other in others:
        assert np.array_equal(first, other)


def test_images_of_the_inputs_size_are_not_resampled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = pixel_dataset(4)
    recipe = replace(PLAIN, augmentation="pad_crop")
    found = preprocessing(recipe, dataset)
    monkeypatch.setattr(images, "resize", lambda *_: pytest.fail("resampled"))
    gathered(training_data(recipe, dataset, found).batches(epoch=0))
    gathered(pipeline.evaluation_batches(dataset.splits["test"], found, 4))


@pytest.mark.parametrize("repeats, count", [(2, 12), (3, 13)])
def test_repeats_hold_copies_side_by_side(repeats: int, count: int) -> None:
    """Each augmented by itself; an epoch sees one image in so many."""
    dataset = pixel_dataset(count, (16, 16, 1))
    recipe = replace(PLAIN, augmentation="pad_crop", pad=4, repeats=repeats)
    found, labels = gathered(epoch(recipe, dataset))
    assert len(labels) == count
    groups = [labels[i : i + repeats] for i in range(0, count, repeats)]
    assert all(len(set(group)) == 1 for group in groups)
    assert len(set(labels)) == len(groups) == -(-count // repeats)
    first, second = found[0::repeats][:4], found[1::repeats][:4]
    assert not np.array_equal(first, second)


MIXES = {"mixup": {"mixup": 0.5}, "cutmix": {"cutmix": 1.0}, "repeated": {"mixup": 0.5}}


@pytest.mark.slow
@pytest.mark.parametrize("name", MIXES)
def test_mixed_epoch_can_be_entered_anywhere(name: str) -> None:
    dataset = pixel_dataset(10, (12, 12, 1))
    repeats = 2 if name == "repeated" else 1
    recipe = replace(PLAIN, augmentation="pad_crop", repeats=repeats, **MIXES[name])
    whole, targets = gathered(epoch(recipe, dataset, 2))
    tail, rest = gathered(epoch(recipe, dataset, 2, first_step=1))
    assert np.array_equal(tail, whole[4:]) and np.array_equal(rest, targets[4:])
    assert (whole.dtype, targets.shape) == (np.uint8, (10, 10))
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    assert ((targets > 0).sum(1) > 1).any()
    other, _ = gathered(epoch(recipe, dataset, 3))
    assert not np.array_equal(whole, other)


@pytest.mark.slow
def test_each_batch_is_mixed_by_itself() -> None:
    dataset = pixel_dataset(12, (8, 8, 1))
    batches = list(epoch(replace(PLAIN, mixup=1.0), dataset))
    shares = {round(float(tf.reduce_max(targets[0])), 4) for _, targets in batches}
    assert len(shares) > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields, augmentation, sizes",
    [
        ({}, "none", [16] * 6),
        ({"train_size": 12}, "area_crop", [12] * 6),
        ({"progressive": (0.5, 0.75)}, "none", [8, 8, 12, 12, 16, 16]),
        ({"progressive": (0.5, 0.75)}, "pad_crop", [8, 8, 12, 12, 16, 16]),
        ({"progressive": (0.5,), "train_size": 12}, "pad_crop", [6] * 3 + [12] * 3),
        ({"progressive": (0.5,), "train_size": 12}, "area_crop", [6] * 3 + [12] * 3),
    ],
)
def test_size_of_an_epoch(
    fields: dict[str, object], augmentation: str, sizes: list[int]
) -> None:
    dataset = pixel_dataset(2, (16, 16, 3))
    recipe = replace(PLAIN, epochs=6, augmentation=augmentation, **fields)
    epochs = [epoch(recipe, dataset, number) for number in range(6)]
    shapes = [batches.dataset.element_spec[0].shape[1:] for batches in epochs]
    assert [shape.as_list() for shape in shapes] == [[s, s, 3] for s in sizes]
    assert gathered(epochs[0])[0].shape == (2, sizes[0], sizes[0], 3)


CHANGES = {
    "randaugment": {"policy": "randaugment"},
    "randaugment_timm": {"policy": "randaugment_timm", "policy_deviation": 0.5},
    "trivial_wide": {"policy": "trivial_wide"},
    "color_jitter": {"color_jitter": 0.4},
    "lighting": {"lighting": 0.5},
    "erasing": {"erasing": 1.0},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_recipe_changes_the_appearance(name: str) -> None:
    dataset = pixel_dataset(8, (10, 14, 3))
    recipe = replace(PLAIN, batch_size=8, **CHANGES[name])
    way_in = preprocessing(recipe, dataset)
    found, labels = gathered(training_data(recipe, dataset, way_in).batches(epoch=0))
    stored = dataset.splits["train"].images.numpy()[labels]
    changed = (found != stored).any((1, 2, 3))
    assert changed.sum() >= 4
    if name == "erasing":
        pixels = found[found != stored].reshape(-1)
        assert np.isin(pixels, np.round(way_in.mean)).all()


def test_changes_are_named() -> None:
    assert augmentation_names(PLAIN) == []
    recipe = replace(PLAIN, policy="trivial_wide", erasing=0.1, cutmix=1.0)
    assert augmentation_names(recipe) == ["trivial_wide", "erasing", "cutmix"]


def test_lighting_needs_three_channels() -> None:
    recipe = replace(PLAIN, lighting=0.1)
    epoch(recipe, pixel_dataset(2, (8, 8, 3)))
    with pytest.raises(
        UsageError, match=r"unless images have 3 channels, got 0\.1 for \w+ with 1$"
    ):
        epoch(recipe, pixel_dataset(2, (8, 8, 1)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("others", "size"),
    [
        ((), 8),
        (("turned.jpg",), 8),
        (("other.png", "turned.jpg"), 40),
        (("cmyk.jpg",), 8),
    ],
)
def test_what_is_known_of_images_saves_work_and_changes_nothing(
    others: tuple[str, ...], size: int, tmp_path: Path
) -> None:
    dataset = file_dataset(tmp_path)
    for name in others:
        turned = with_exif(tag(6), data=encode(smooth(50, 90), "JPEG"))
        is_jpeg = name.endswith("jpg")
        data = turned if is_jpeg else encode(smooth(50, 90), "PNG")
        if name == "cmyk.jpg":
            data = encode(smooth(50, 58), "JPEG", mode="CMYK")
        (tmp_path / name).write_bytes(data)
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    findings = [inspect(path, 10**6) for path in paths]
    unknown = strings(paths, np.arange(len(paths)))
    known = replace(unknown, facts=image_info(findings))
    assert known.facts.jpegs == ("other.png" not in others)
    assert known.facts.cmyk == ("cmyk.jpg" in others)
    assert known.facts.upright == ("turned.jpg" not in others)
    assert known.facts.largest == (
        (90 if "turned.jpg" in others else 58),
        (90 if "other.png" in others else 61),
    )
    taken = known.take(np.array([len(paths) - 1]))
    assert taken.facts.orientations.numpy() == [findings[-1].header.orientation]
    recipe = Recipe(augmentation="area_crop", batch_size=3)
    way_in = Preprocessing((size, size), 3, 0.875, (), ())
    seen = []
    for split in (unknown, known):
        dataset = replace(dataset, splits={"train": split})
        training = training_data(recipe, dataset, way_in).batches(epoch=0)
        evaluation = pipeline.evaluation_batches(split, way_in, 3)
        seen.append((gathered(training)[0], gathered(evaluation)[0]))
    for first, second in zip(*seen, strict=True):
        assert np.array_equal(first, second)
