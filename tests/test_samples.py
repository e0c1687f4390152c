"""Images to look at are those that the network sees."""

import io
from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY
from data import gathered, noise, pixel_dataset
from PIL import Image

from training.data import samples
from training.data.preprocessing import Preprocessing
from training.experiment.augmentation import training_data
from training.recipes.recipe import Recipe

PREPARED = Preprocessing((8, 8), 1, 1.0, (), ())


@pytest.mark.parametrize("count", [40, 5])
def test_images_trained_on_are_the_first_of_the_first_epoch(count: int) -> None:
    dataset = pixel_dataset(count)
    recipe = replace(TINY, batch_size=32, accumulation=4)
    found = samples.training_samples(training_data(recipe, dataset, PREPARED))
    images, _ = gathered(training_data(recipe, dataset, PREPARED).batches(epoch=0))
    np.testing.assert_array_equal(found, images[: samples.COUNT])


def test_mixed_images_are_shown_mixed() -> None:
    recipe = Recipe(mixup=1.0, augmentation="none", flip="off")
    found = samples.training_samples(training_data(recipe, pixel_dataset(40), PREPARED))
    assert found.dtype == np.uint8 and found.shape == (16, 8, 8, 1)
    plain = samples.training_samples(
        training_data(replace(recipe, mixup=0.0), pixel_dataset(40), PREPARED)
    )
    assert (found != plain).any()


def test_images_evaluated_are_those_of_the_indices() -> None:
    dataset = pixel_dataset(20)
    found = samples.evaluation_samples(dataset, "test", [7, 3, 3], PREPARED)
    stored = dataset.splits["test"].images.numpy()
    np.testing.assert_array_equal(found, stored[[7, 3, 3]])


@pytest.mark.parametrize(
    ("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (5, "L")]
)
def test_any_number_of_channels_can_be_seen(channels: int, mode: str) -> None:
    images = samples.visible(noise(2, 30, 20, channels))
    picture = Image.open(io.BytesIO(samples.png(images[0], 128)))
    assert (picture.mode, picture.size) == (mode, (20, 30))
    np.testing.assert_array_equal(np.atleast_3d(picture), images[0])


def test_large_images_are_made_small() -> None:
    picture = Image.open(io.BytesIO(samples.png(noise(300, 150, 3), 100)))
    assert picture.size == (50, 100)
