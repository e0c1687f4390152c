"""LeNet-5: the paper's counts, its table of connections, its layers in NumPy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_resnet import UsageError, count_macs, count_params, create_model, load_model
from keras_resnet.families.lenet import LENETS, TABLE_I, LeNetSpec, scaled_tanh
from keras_resnet.layers import TableConv2D

# LeCun et al., 1998, table I: a row for every map of S2, a column for every map of C3
PRINTED = """
X . . . X X X . . X X X X . X X
X X . . . X X X . . X X X X . X
X X X . . . X X X . . X . X X X
. X X X . . X X X X . . X . X X
. . X X X . . X X X X . X X . X
. . . X X X . . X X X X . X X X
"""
CONNECTED = np.array([[c == "X" for c in x.split()] for x in PRINTED.split("\n")[1:-1]])


@pytest.fixture(scope="module")
def lenet() -> keras.Model:
    """A LeNet-5 of live weights, biases and coefficients too."""
    keras.utils.set_random_seed(0)
    model = create_model("lenet5")
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name == "bias":
            weight.assign(rng.uniform(-0.5, 0.5, weight.shape))
        elif weight.path.startswith(("s2", "s4")):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


def images(count: int = 3, side: int = 32) -> np.ndarray:
    return (
        np.random.default_rng(1).normal(size=(count, side, side, 1)).astype("float32")
    )


def part(model: keras.Model, first: str, last: str, x: np.ndarray) -> np.ndarray:
    """What the layers from ``first`` to ``last`` make of ``x``."""
    names = [layer.name for layer in model.layers]
    for layer in model.layers[names.index(first) : names.index(last) + 1]:
        x = layer(x)
    return np.asarray(x)


def squash(x: np.ndarray) -> np.ndarray:
    return 1.7159 * np.tanh(2 / 3 * x)


def windows(x: np.ndarray, size: int = 5) -> Iterator[tuple[int, int, np.ndarray]]:
    for row in range(x.shape[1] - size + 1):
        for column in range(x.shape[2] - size + 1):
            yield row, column, x[:, row : row + size, column : column + size]


def test_parameters_are_the_papers(lenet: keras.Model) -> None:
    """Section II.B; the paper's 60,000 are all but the output's."""
    counts = {x.name: x.count_params() for x in lenet.layers if x.weights}
    assert counts.pop("logits") == 84 * 10 + 10
    assert counts == {
        "c1": 156,
        "s2": 12,
        "c3": 1_516,
        "s4": 32,
        "c5": 48_120,
        "f6": 10_164,
    }
    assert sum(counts.values()) == 60_000
    assert count_params(lenet) == 60_850


def test_connections_are_the_papers(lenet: keras.Model) -> None:
    """Section II.B prints 340,908 connections: products, biases and pooled pixels."""
    c1, c3, c5 = 28**2 * (25 + 1) * 6, 10**2 * 1_516, 48_120
    s2, s4 = 14**2 * (4 + 1) * 6, 5**2 * (4 + 1) * 16
    assert (c1, s2, c3, s4, c5) == (122_304, 5_880, 151_600, 2_000, 48_120)
    assert c1 + s2 + c3 + s4 + c5 + 10_164 + 84 * 10 == 340_908
    biases = 28**2 * 6 + 10**2 * 16 + 120 + 84
    assert count_macs(lenet) == 340_908 - s2 - s4 - biases == 326_520


def test_sizes_and_names(lenet: keras.Model) -> None:
    assert {x.name: tuple(x.output.shape[1:]) for x in lenet.layers} == {
        "image": (32, 32, 1),
        "c1": (28, 28, 6),
        "c1_tanh": (28, 28, 6),
        "s2_pool": (14, 14, 6),
        "s2": (14, 14, 6),
        "s2_tanh": (14, 14, 6),
        "c3": (10, 10, 16),
        "c3_tanh": (10, 10, 16),
        "s4_pool": (5, 5, 16),
        "s4": (5, 5, 16),
        "s4_tanh": (5, 5, 16),
        "c5": (1, 1, 120),
        "c5_tanh": (1, 1, 120),
        "flatten": (120,),
        "f6": (84,),
        "f6_tanh": (84,),
        "logits": (10,),
    }


def test_scaled_tanh_maps_one_to_one() -> None:
    x = np.linspace(-4, 4, 33).astype("float32")
    np.testing.assert_allclose(scaled_tanh(x), squash(x), rtol=1e-5)
    np.testing.assert_allclose(scaled_tanh(np.array([-1.0, 1.0])), [-1, 1], rtol=1e-4)


@pytest.mark.parametrize("name", ["s2", "s4"])
def test_subsampling_equals_numpy(lenet: keras.Model, name: str) -> None:
    maps, side = (6, 28) if name == "s2" else (16, 10)
    x = np.random.default_rng(2).normal(size=(2, side, side, maps)).astype("float32")
    kernel, bias = lenet.get_layer(name).get_weights()
    coefficient = kernel.reshape(maps) / 4  # the paper's is of the sum
    total = x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]
    y = part(lenet, f"{name}_pool", f"{name}_tanh", x)
    np.testing.assert_allclose(y, squash(coefficient * total + bias), rtol=1e-4)


def test_table_is_the_papers() -> None:
    assert CONNECTED.shape == (6, 16)
    for column, inputs in enumerate(TABLE_I):
        assert inputs == tuple(np.flatnonzero(CONNECTED[:, column]))


def test_c3_depends_on_the_published_maps_alone(lenet: keras.Model) -> None:
    x = tf.constant(np.random.default_rng(3).normal(size=(1, 14, 14, 6)), "float32")
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(lenet.get_layer("c3")(x), axis=(0, 1, 2))
    gradient = tape.jacobian(y, x)  # (16, 1, 14, 14, 6)
    depends = np.abs(np.asarray(gradient)).sum((1, 2, 3)).T > 0
    np.testing.assert_array_equal(depends, CONNECTED)


def test_c3_equals_numpy(lenet: keras.Model) -> None:
    kernel, bias = lenet.get_layer("c3").get_weights()
    assert kernel.shape == (5, 5, 1, 60)
    x = np.random.default_rng(4).normal(size=(2, 8, 7, 6)).astype("float32")
    expected = np.empty((2, 4, 3, 16))
    for row, column, window in windows(x):
        connection = 0
        for column_of_table in range(16):
            total = bias[column_of_table]
            for i in np.flatnonzero(CONNECTED[:, column_of_table]):
                total = total + (window[..., i] * kernel[..., 0, connection]).sum(
                    (1, 2)
                )
                connection += 1
            expected[:, row, column, column_of_table] = total
    y = lenet.get_layer("c3")(x)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_initial_kernels_keep_the_variance() -> None:
    """1 / fan-in; a filter of C3 has 25 inputs from each of its maps.

    A thousand values estimate the deviation within 2 % (one standard error).
    """
    connections = (*[(0,)] * 40, tuple(range(40)))
    layer = create_model("lenet5", maps=40, connections=connections).get_layer
    kernel = np.asarray(layer("c3").kernel)[..., 0, :]
    assert kernel[..., :40].std() == pytest.approx(1 / 5, rel=0.1)
    assert kernel[..., 40:].std() == pytest.approx(1 / np.sqrt(25 * 40), rel=0.1)
    assert np.asarray(layer("c5").kernel).std() == pytest.approx(
        1 / np.sqrt(25 * 41), rel=0.1
    )


@pytest.mark.parametrize("options", [{"use_bias": False}, {"activation": "relu"}])
def test_table_convolution_is_saved(options: dict[str, Any], tmp_path: Path) -> None:
    image = keras.Input((9, 9, 3), name="image")
    layer = TableConv2D([[0, 2], [1]], 3, strides=2, padding="same", **options)
    model = keras.Model(image, layer(image))
    assert model.output_shape == (None, 5, 5, 2)
    model.save(tmp_path / "table.keras")
    x = np.random.default_rng(0).normal(size=(2, 9, 9, 3)).astype("float32")
    np.testing.assert_array_equal(load_model(tmp_path / "table.keras")(x), model(x))
    assert (np.asarray(model(x)) >= 0).all() == ("activation" in options)


@pytest.mark.parametrize(
    ("shape", "padding"), [((28, 28, 1), 2), ((8, 8, 1), 12), ((40, 35, 3), 0)], ids=str
)
def test_other_sizes(shape: tuple[int, int, int], padding: int) -> None:
    model = create_model("lenet5", input_shape=shape, padding=padding, classes=4)
    assert model(np.ones((2, *shape), "float32")).shape == (2, 4)
    features = {x.name: x for x in model.layers}["c5"].output.shape[1:3]
    assert features == ((3, 1) if shape[0] == 40 else (1, 1))


def test_padding_puts_the_image_in_the_middle(lenet: keras.Model) -> None:
    padded = create_model("lenet5", padding=2)
    assert padded.input_shape == (None, 28, 28, 1)
    padded.set_weights(lenet.get_weights())
    x = images(side=28)
    around = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    np.testing.assert_allclose(padded(x), lenet(around), rtol=1e-4, atol=1e-5)


def test_no_classes_gives_f6(lenet: keras.Model) -> None:
    features = create_model("lenet5", classes=0)
    features.set_weights(lenet.get_weights()[:-2])
    assert features.output_shape == (None, 84)
    kernel, bias = lenet.get_layer("logits").get_weights()
    logits = np.asarray(features(images())) @ kernel + bias
    np.testing.assert_allclose(lenet(images()), logits, rtol=1e-4, atol=1e-5)


def test_logits_are_float32_in_half_precision() -> None:
    model = create_model("lenet5", dtype="mixed_bfloat16")
    assert model.get_layer("c3").output.dtype == "bfloat16"
    assert model(images()).dtype == "float32"


def test_saved_network_is_the_same(lenet: keras.Model, tmp_path: Path) -> None:
    lenet.save(tmp_path / "lenet.keras")
    loaded = load_model(tmp_path / "lenet.keras")
    np.testing.assert_array_equal(loaded(images()), lenet(images()))
    assert np.ptp(np.asarray(lenet(images())), axis=0).min() > 1e-2


@pytest.mark.slow
def test_it_learns() -> None:
    model = create_model("lenet5")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.02), loss)
    x, y = images(20), np.arange(20) % 10
    losses = [float(model.train_on_batch(x, y)) for _ in range(30)]
    assert losses[-1] < losses[0] / 2


def test_row_is_the_papers() -> None:
    assert list(LENETS) == ["lenet5"]
    spec = LENETS["lenet5"]
    assert spec == LeNetSpec(6, TABLE_I, 120, 84, 0)
    assert (spec.input_shape, spec.classes, spec.smallest_side) == ((32, 32, 1), 10, 32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (None, 32, 1)}, "height and width .* must be fixed, got None"),
        ({"input_shape": (28, 28, 1)}, "input of lenet5 must be at least 32×32"),
        ({"maps": 5}, "connections must list distinct maps from 0 to 4 for every"),
        ({"connections": ()}, r"connections must list .*, got \(\)"),
        ({"connections": ((0, 0),)}, "connections must list distinct maps"),
        ({"connections": ((),)}, "connections must list distinct maps"),
        ({"connections": (1, 2)}, "connections must list distinct maps"),
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"padding": 16}, "padding must be from 0 to 15 pixels, got 16"),
        ({"padding": -1}, "padding must be from 0 to 15 pixels, got -1"),
    ],
)
def test_mistake_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model("lenet5", **options)


def test_lora_of_the_table_convolution() -> None:
    layer = create_model("lenet5").get_layer("c3")
    x = np.random.default_rng(0).normal(size=(1, 14, 14, 6)).astype("float32")
    before = layer(x)
    layer.enable_lora(2)
    assert np.array_equal(layer(x), before)  # its second matrix begins at zero
    layer.lora_kernel_b.assign_add(keras.ops.ones(layer.lora_kernel_b.shape))
    assert not np.allclose(layer(x), before)


def test_lora_is_there_again_once_loaded(tmp_path: Path) -> None:
    model = create_model("lenet5")
    layer = model.get_layer("c3")
    layer.enable_lora(2, lora_alpha=6)
    layer.lora_kernel_b.assign_add(keras.ops.ones(layer.lora_kernel_b.shape))
    model.save(tmp_path / "lora.keras")
    loaded = load_model(tmp_path / "lora.keras")
    np.testing.assert_allclose(loaded(images()), model(images()), atol=1e-5)
    again = loaded.get_layer("c3")
    assert (again.lora_enabled, again.lora_rank, again.lora_alpha) == (True, 2, 6)
    assert again.lora_kernel_a.shape == layer.lora_kernel_a.shape
    names = [x.path.split("/", 1)[-1] for x in model.trainable_weights]
    assert [x.path.split("/", 1)[-1] for x in loaded.trainable_weights] == names
