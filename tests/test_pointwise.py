"""Gradients of 1×1 filters as matrix products equal those of convolutions."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_resnet import create_model
from keras_resnet.layers import gradients_by_products, leaf_layers
from training.data.preprocessing import Preprocessing
from training.distributed.hardware import cpu
from training.engine import tensorflow_update
from training.engine.forward import ModelPair
from training.experiment.optimisation import make_step
from training.recipes.recipe import Recipe

SMALL = {"input_shape": (32, 32, 3), "classes": 5}


def gradients_of(model: keras.Model, wanted: bool) -> tuple[list[np.ndarray], int]:
    """Gradients of a loss, and the number of oneDNN's gradients of filters."""
    images = tf.random.stateless_normal((3, *SMALL["input_shape"]), (0, 1))

    def compute() -> list[Any]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(images, training=True) ** 2)
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    with gradients_by_products(model, wanted):
        graph = tf.function(compute, autograph=False).get_concrete_function()
    operations = [x.type for x in graph.graph.get_operations()]
    return [x.numpy() for x in graph()], operations.count("Conv2DBackpropFilter")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fields", "replaced"),
    [
        # Of each of four units the first and last, and the projection of the first;
        # those of three units that halve the size have a stride.
        ("resnet50_v1_5", {"depths": (1, 1, 1, 1), "width": 8}, 9),
        # A unit's first, and the transition's.
        ("densenet121", {"depths": (1, 1), "growth_rate": 4}, 3),
        ("resnet20_cifar", {"depths": (1, 1, 1)}, 0),
    ],
)
def test_gradients_are_those_of_convolutions(
    name: str,
    fields: dict[str, Any],
    replaced: int,
    enliven: Callable[[keras.Model], keras.Model],
) -> None:
    model = enliven(create_model(name, **SMALL, **fields))
    expected, before = gradients_of(model, wanted=False)
    found, after = gradients_of(model, wanted=True)
    assert before - after == replaced
    for variable, ours, theirs in zip(
        model.trainable_variables, found, expected, strict=True
    ):
        bound = 1e-4 * np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, atol=bound, err_msg=variable.path)
    assert not any("convolution_op" in vars(x) for x in leaf_layers(model))


@pytest.mark.parametrize("flags", ["avx512_bf16", "amx_bf16"])
def test_training_uses_them_on_cpus_with_amx(
    flags: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = replace(cpu(f"flags : {flags}"), name="made")
    monkeypatch.setattr(tensorflow_update, "detect_hardware", lambda: here)
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(8, 1)(inputs)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    kinds = []
    convolution = tf.nn.conv2d  # Keras uses another function

    def observed(*arguments: Any) -> Any:
        kinds.append("product")
        return convolution(*arguments)

    monkeypatch.setattr(tf.nn, "conv2d", observed)
    made = make_step(
        ModelPair(model, model),
        Preprocessing((4, 4), 3, 1.0, (128.0,) * 3, (64.0,) * 3),
        optimizer=keras.optimizers.SGD(0.01),
        recipe=Recipe(weight_decay=0.0),
    )
    images = tf.random.stateless_uniform((4, 4, 4, 3), (0, 1), maxval=255.0)
    losses = [made.step(images, tf.range(4)) for _ in range(3)]
    assert losses[2] < losses[0]
    assert bool(kinds) == (flags == "amx_bf16")
