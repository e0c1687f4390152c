"""Grouped convolution: every path gives Keras' results, gradients and exports."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_resnet import create_model
from keras_resnet.layers import grouped_conv, leaf_layers
from keras_resnet.layers.grouped_conv import PATHS, GroupedConv2D, merged_groups
from training.data.preprocessing import Preprocessing
from training.engine.forward import ModelPair
from training.experiment.optimisation import make_step
from training.recipes.recipe import Recipe

# groups, input channels, filters: narrow and wide groups, more and fewer filters
SHAPES = [(2, 6, 4), (8, 32, 16), (32, 128, 128), (2, 64, 32), (3, 3, 9), (1, 4, 8)]


def images(channels: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 7, 6, channels)).astype("float32")


def twins(
    groups: int, channels: int, filters: int, **options: Any
) -> tuple[GroupedConv2D, keras.layers.Conv2D]:
    """Ours and Keras' layer with equal weights."""
    arguments = {"kernel_size": 3, "groups": groups, "padding": "same", **options}
    ours = GroupedConv2D(filters, **arguments)
    theirs = keras.layers.Conv2D(filters, **arguments)
    for layer in (ours, theirs):
        layer.build((None, None, None, channels))
    theirs.set_weights(ours.get_weights())
    return ours, theirs


def results(layer: keras.layers.Layer, x: np.ndarray) -> list[np.ndarray]:
    """Output, and gradients by input and weights."""
    image = tf.constant(x)
    variables = [v.value for v in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(image)
        y = layer(image)
        total = tf.reduce_sum(y**2)
    found = [y, *tape.gradient(total, [image, *variables])]
    return [tf.cast(value, tf.float32).numpy() for value in found]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        *((shape, {}) for shape in SHAPES),
        (SHAPES[0], {"strides": 2, "padding": "valid", "use_bias": False}),
        (SHAPES[1], {"activation": "relu"}),
        (SHAPES[1], {"dilation_rate": 2}),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", PATHS)
def test_equals_keras(
    path: str, shape: tuple[int, int, int], options: dict[str, Any]
) -> None:
    if path != "split" and not grouped_conv._has_gradients("float32"):
        pytest.skip("TensorFlow has no gradient of a grouped convolution here")
    ours, theirs = twins(*shape, **options)
    x = images(shape[1])
    ours.path = path
    for mine, reference in zip(results(ours, x), results(theirs, x), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-4)


def plainly(layer: GroupedConv2D, x: tf.Tensor) -> tf.Tensor:
    """The layer as plain convolutions, one a group."""
    parts = zip(
        tf.split(x, layer.groups, -1),
        tf.split(layer.kernel.value, layer.groups, -1),
        strict=True,
    )
    return tf.concat([tf.nn.conv2d(a, k, 1, "SAME") for a, k in parts], -1)


def second_derivatives(
    convolution: Callable[[tf.Tensor], tf.Tensor], kernel: tf.Variable
) -> list[tf.Tensor]:
    """Of a sum of cubes: the gradient of its gradients' squared norm."""
    x = tf.constant(images(32))
    with tf.GradientTape() as outer, tf.GradientTape() as inner:
        for tape in (outer, inner):
            tape.watch(x)
        total = tf.reduce_sum(convolution(x) ** 3)
        with inner.stop_recording():
            first = inner.gradient(total, [x, kernel])
        norm = tf.add_n([tf.reduce_sum(g**2) for g in first])
    return outer.gradient(norm, [x, kernel])


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "function"])
@pytest.mark.parametrize("path", PATHS)
def test_second_derivative(path: str, compiled: bool) -> None:
    if path != "split" and not grouped_conv._has_gradients("float32"):
        pytest.skip("TensorFlow has no gradient of a grouped convolution here")
    layer, _ = twins(8, 32, 16, use_bias=False)
    layer.path = path
    kernel = layer.kernel.value

    def ours() -> list[tf.Tensor]:
        return second_derivatives(layer, kernel)

    found = (tf.function(ours) if compiled else ours)()
    expected = second_derivatives(lambda x: plainly(layer, x), kernel)
    for mine, reference in zip(found, expected, strict=True):
        scale = np.abs(reference).max()
        np.testing.assert_allclose(mine / scale, reference / scale, atol=1e-5)


def test_the_path_is_what_the_device_can(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, _ = twins(2, 6, 4)
    devices: list[str] = []
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices)
    for able, path in ((True, "merged"), (False, "split")):
        monkeypatch.setattr(
            grouped_conv, "_has_gradients", lambda dtype, able=able: able
        )
        assert layer._best_path() == path
    devices.append("GPU:0")
    assert layer._best_path() == "native"


@pytest.mark.parametrize(
    ("path", "channels"), [("native", 4), ("merged", 8), ("split", 16)]
)
def test_narrow_groups_are_merged(path: str, channels: int) -> None:
    layer, _ = twins(32, 128, 128)
    assert layer._merged_kernel(PATHS[path]).shape == (3, 3, channels, 128)


@pytest.mark.parametrize("survival", [1.0, 0.5])
@pytest.mark.parametrize(("compiled", "path"), [(True, "split"), (False, "auto")])
def test_a_step_compiled_for_a_cpu_is_split(
    compiled: bool, path: str, survival: float
) -> None:
    recipe = Recipe(
        model="resnext29_8x64d_cifar",
        overrides=("depths=(1,)", "group_width=2", f"survival={survival}"),
    )
    model = create_model(recipe.model, classes=3, **recipe.spec_fields)
    make_step(
        ModelPair(model, model),
        Preprocessing((32, 32), 3, 1.0, (), ()),
        optimizer=keras.optimizers.SGD(),
        recipe=recipe,
        jit_compile=compiled,
    )
    layers = [x for x in leaf_layers(model) if isinstance(x, GroupedConv2D)]
    assert layers and all(layer.path == path for layer in layers)


@pytest.mark.slow
def test_without_onednn_there_are_gradients() -> None:
    code = """
import tensorflow as tf
from keras_resnet.layers import GroupedConv2D
layer, x = GroupedConv2D(8, 3, groups=2), tf.ones((1, 4, 4, 4))
with tf.GradientTape() as tape:
    tape.watch(x)
    y = tf.function(layer)(x)
assert layer._best_path() == "split"
assert tape.gradient(y, x).shape == x.shape
"""
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_a_block_has_enough_channels_and_divides_the_groups() -> None:
    assert [merged_groups(32, width, 16) for width in (4, 8, 16, 64)] == [4, 2, 1, 1]
    assert merged_groups(3, 1, 16) == 3
    assert merged_groups(6, 4, 16) == 6  # 4 does not divide 6
    for groups in range(1, 40):
        for width in (1, 3, 4, 8, 16, 64):
            merged = merged_groups(groups, width, 16)
            assert groups % merged == 0
            assert merged * width >= 16 or merged == groups


def test_config_and_weights_are_those_of_keras() -> None:
    ours, theirs = twins(2, 6, 4, name="conv")
    config = {**ours.get_config(), "name": "conv"}
    assert config == {**theirs.get_config(), "name": "conv"}
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(ours)
    )
    assert type(again) is GroupedConv2D


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_float32_rounded(dtype: str) -> None:
    ours, theirs = twins(8, 32, 16)
    half = GroupedConv2D.from_config({**ours.get_config(), "dtype": f"mixed_{dtype}"})
    half.build((None, None, None, 32))
    half.set_weights(ours.get_weights())
    x = images(32)
    assert half(x).dtype == dtype
    for mine, reference in zip(results(half, x), results(theirs, x), strict=True):
        scale = np.abs(reference).max()
        np.testing.assert_allclose(mine / scale, reference / scale, atol=0.02)


@pytest.mark.parametrize("path", PATHS)
def test_exported_graph_has_no_xla_function(path: str, tmp_path: Path) -> None:
    image = keras.Input((8, 8, 32), name="image")
    layer = GroupedConv2D(32, 3, groups=8)
    model = keras.Model(image, layer(image))
    layer.path = path
    model.export(tmp_path / "model", verbose=False)
    assert b"_XlaMustCompile" not in (tmp_path / "model/saved_model.pb").read_bytes()
    loaded = tf.saved_model.load(tmp_path / "model")
    x = images(32)
    x = np.pad(x, ((0, 0), (0, 1), (0, 2), (0, 0)))
    np.testing.assert_allclose(loaded.serve(x), model(x), rtol=1e-4, atol=1e-5)


def run_openvino(path: Path, x: np.ndarray) -> np.ndarray:
    openvino = pytest.importorskip("openvino")
    precision = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(path, "CPU", precision)(x)[0]


def run_onnx(path: Path, x: np.ndarray) -> np.ndarray:
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*np.object:FutureWarning")  # Keras' ONNX writer
@pytest.mark.parametrize("path", ["merged", "split"])
@pytest.mark.parametrize(
    ("form", "ending", "run"),
    [("openvino", "xml", run_openvino), ("onnx", "onnx", run_onnx)],
)
def test_keras_exports_it_to_other_runtimes(
    path: str, form: str, ending: str, run: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    image = keras.Input((7, 6, 32), name="image")
    layer = GroupedConv2D(32, 3, groups=8)
    model = keras.Model(image, layer(image))
    layer.path = path
    x = images(32)
    expected = model(x)  # Keras exports only what was called
    file = tmp_path / f"model.{ending}"
    model.export(str(file), format=form, verbose=False)
    np.testing.assert_allclose(run(file, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_keras_exports_a_network_to_openvino(
    enliven: Callable[[keras.Model], keras.Model], tmp_path: Path
) -> None:
    options = {"depths": (1,), "cardinality": 8, "group_width": 4, "classes": 5}
    model = create_model("resnext29_8x64d_cifar", input_shape=(8, 8, 3), **options)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    expected = enliven(model)(x)
    file = tmp_path / "model.xml"
    model.export(str(file), format="openvino", verbose=False)
    np.testing.assert_allclose(run_openvino(file, x), expected, rtol=1e-3, atol=1e-4)
