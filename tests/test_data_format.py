"""Where the channels are, for Keras configured otherwise and for layers told so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_resnet import count_macs, create_model, load_model
from keras_resnet.layers import (
    GroupedConv2D,
    LocalResponseNormalization,
    MaxPooling2D,
    TableConv2D,
)

SMALL: dict[str, dict[str, Any]] = {
    "alexnet": {"widths": (8, 12, 8, 16, 4), "hidden": 6, "input_shape": (67, 67, 3)},
    "lenet5": {},
    "resnet20_cifar": {"depths": (1, 1), "shortcut": "A_pooled"},
    "resnext29_8x64d_cifar": {"depths": (1, 1, 1), "cardinality": 2, "group_width": 4},
}


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.fixture
def channels_first() -> Iterator[Any]:
    """A function that configures Keras so until the test ends."""
    yield lambda: keras.config.set_image_data_format("channels_first")
    keras.config.set_image_data_format("channels_last")


def test_response_normalisation_is_of_the_last_axis(channels_first: Any) -> None:
    layer, x = LocalResponseNormalization(alpha=0.5), images(2, 4, 3, 7)
    expected = np.asarray(layer(x))
    channels_first()
    np.testing.assert_array_equal(layer(x), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_network_is_the_same_under_channels_first(
    name: str, channels_first: Any, tmp_path: Path
) -> None:
    model = create_model(name, classes=10, **SMALL[name])
    x = images(2, *model.input_shape[1:])
    expected, macs = np.asarray(model(x)), count_macs(model)
    model.save(tmp_path / "model.keras")
    channels_first()
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(x), expected, rtol=1e-5, atol=1e-5)
    assert count_macs(loaded) == macs


def test_a_grouped_convolution_of_channels_first_is_keras() -> None:
    options: dict[str, Any] = {"groups": 4, "data_format": "channels_first"}
    ours, theirs = (
        kind(8, 3, 2, name="conv", **options)
        for kind in (GroupedConv2D, keras.layers.Conv2D)
    )
    x = images(2, 16, 9, 7)
    theirs.build(x.shape)
    ours.build(x.shape)
    ours.set_weights([*theirs.get_weights()[:1], images(8)])
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (MaxPooling2D, {"pool_size": 3, "strides": 2}),
        (TableConv2D, {"table": ((0, 2), (1,), (3, 1)), "kernel_size": 3}),
    ],
)
def test_a_layer_of_channels_first_is_the_transposed_one(
    kind: type[keras.layers.Layer], options: dict[str, Any]
) -> None:
    last, first = kind(**options), kind(**options, data_format="channels_first")
    x = images(2, 9, 7, 4)
    last.build(x.shape)
    first.build((2, 4, 9, 7))
    last.set_weights([images(*weight.shape) for weight in last.weights])
    first.set_weights(last.get_weights())
    expected = np.moveaxis(np.asarray(last(x)), 3, 1)
    y = first(np.moveaxis(x, 3, 1))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert tuple(first.compute_output_shape((2, 4, 9, 7))) == expected.shape


def test_macs_of_channels_first() -> None:
    image = keras.Input((3, 9, 7))
    conv = keras.layers.Conv2D(5, 3, data_format="channels_first")
    assert count_macs(keras.Model(image, conv(image))) == 7 * 5 * 5 * 3 * 9
