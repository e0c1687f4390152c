"""Views of test-time augmentation: what is moved where, and that they are averaged."""

import keras
import numpy as np
import pytest
from data import noise, pixel_dataset

from training.data.preprocessing import Preprocessing
from training.evaluation.assessment import predict
from training.evaluation.metrics import Evaluator
from training.evaluation.views import shift, views

PREPARED = Preprocessing((8, 8), 1, 1.0, (120.0,), (60.0,))


@pytest.mark.parametrize("side", [8, 64])
def test_shift_moves_and_leaves_black(side: int) -> None:
    images = noise(2, side, side, 3) | 1  # nothing is black
    unit = max(side // 32, 1)
    moved = shift(images, down=1, right=-1).numpy()
    assert moved.shape == images.shape
    np.testing.assert_array_equal(moved[:, unit:, :-unit], images[:, :-unit, unit:])
    assert not moved[:, :unit].any() and not moved[:, :, -unit:].any()


def test_mirrored_views_are_for_mirrored_recipes() -> None:
    images = noise(1, 4, 4, 1)
    mirrored = views(mirrored=True)
    assert list(mirrored) == ["as it is", "mirrored"]
    np.testing.assert_array_equal(mirrored["mirrored"](images), images[:, :, ::-1])
    assert len(views(mirrored=False)) == 5


def test_probabilities_are_averaged_over_views() -> None:
    data = pixel_dataset(10)
    image = keras.Input((8, 8, 1))
    logits = keras.layers.Dense(10)(keras.layers.Flatten()(image))
    model = keras.Model(image, logits)
    chosen = tuple(views(mirrored=False).values())
    evaluator = Evaluator(model, PREPARED, views=chosen)
    found = predict(evaluator, data, PREPARED, "test")
    stored = data.splits["test"].images
    expected = np.mean(
        [keras.ops.softmax(model(PREPARED.normalise(view(stored)))) for view in chosen],
        axis=0,
    )
    np.testing.assert_array_equal(found.predicted, expected.argmax(-1))
    np.testing.assert_allclose(found.confidence, expected.max(-1), rtol=1e-5)
    own = expected[np.arange(10), np.arange(10)]
    np.testing.assert_allclose(found.losses, -np.log(own), rtol=1e-4)
