"""Recomputed activations change the memory of a step, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_resnet import count_macs, count_params, create_model, load_model, weights
from keras_resnet.describe import walk
from keras_resnet.layers import Recomputed
from keras_resnet.weights.assign import weights_of
from training.distributed.backend import backend

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "depths": (2, 3),
    "growth_rate": 4,
    "stem_width": 8,
    "input_shape": (16, 16, 3),
    "classes": 5,
}
Enliven = Callable[[keras.Model], keras.Model]


def pair(enliven: Enliven, **options: Any) -> tuple[keras.Model, keras.Model]:
    """The same network without and with the option, with the same weights."""
    name = "densenetbc100_k12_cifar"
    plain = enliven(create_model(name, **SMALL, **options))
    efficient = create_model(name, memory_efficient=True, **SMALL, **options)
    weights.transfer(plain, efficient)
    return plain, efficient


def step(model: keras.Model, graph: bool) -> dict[str, np.ndarray]:
    """Gradients and, after a training step's forward pass, all weights, by name."""
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(6, 16, 16, 3)), tf.float32)
    labels = tf.constant(rng.integers(0, 5, 6))
    names = {id(v): name for name, v in weights_of(model).items()}

    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tape.gradient(losses, model.trainable_variables)

    found = (tf.function(gradients) if graph else gradients)()
    values = {name: v.numpy() for name, v in weights_of(model).items()}
    for variable, gradient in zip(model.trainable_variables, found, strict=True):
        values[f"gradient of {names[id(variable)]}"] = gradient.numpy()
    return values


@pytest.mark.parametrize(
    ("bottleneck", "graph"), [(0, False), (4, True)], ids=["eager", "graph"]
)
def test_gradients_and_statistics_are_equal(
    bottleneck: int, graph: bool, enliven: Enliven
) -> None:
    plain, efficient = pair(enliven, bottleneck=bottleneck)
    before = {name: np.array(v.numpy()) for name, v in weights_of(plain).items()}
    ours, theirs = step(efficient, graph), step(plain, graph)
    assert set(ours) == set(theirs) and len(ours) > 40
    for name, value in theirs.items():
        scale = np.abs(value).max() + 1e-3
        np.testing.assert_allclose(
            ours[name], value, rtol=0, atol=2e-5 * scale, err_msg=name
        )
    moved = "stage2_layer1_norm1/moving_mean"
    assert np.abs(theirs[moved] - before[moved]).max() > 1e-3, "a step moves it once"


def test_activations_are_computed_twice(enliven: Enliven) -> None:
    """Once more in the backward pass, but for the convolutions, which are pruned."""
    plain, efficient = pair(enliven)

    def count(model: keras.Model, *ops: str) -> int:
        def gradients(images: tf.Tensor) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                y = tf.reduce_sum(model(images, training=True))
            return tape.gradient(y, model.trainable_variables)

        spec = tf.TensorSpec((2, 16, 16, 3))
        graph = tf.function(gradients).get_concrete_function(spec).graph
        graph = tf.compat.v1.graph_util.extract_sub_graph(
            graph.as_graph_def(), [x.op.name for x in graph.outputs]
        )
        return sum(node.op in ops for node in graph.node)

    inside = 2 * 5 + 1  # two normalisations a layer, one of the transition
    norms = count(plain, "FusedBatchNormV3")
    assert count(efficient, "FusedBatchNormV3") == norms + inside
    assert count(efficient, "Conv2D") == count(plain, "Conv2D")


def test_the_network_is_the_same(tmp_path: Path, enliven: Enliven) -> None:
    plain, efficient = pair(enliven, dropout=0.2)
    images = np.random.default_rng(1).normal(size=(3, 16, 16, 3)).astype("float32")
    expected = plain(images, training=False)
    np.testing.assert_allclose(efficient(images, training=False), expected, atol=1e-6)
    efficient.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert any(isinstance(layer, Recomputed) for layer in loaded.layers)
    np.testing.assert_array_equal(
        loaded(images, training=False), efficient(images, training=False)
    )
    assert count_params(efficient) == count_params(plain)
    assert count_macs(efficient) == count_macs(plain)
    sizes = [[(stage.name, stage.output) for stage in walk(m)] for m in pair(enliven)]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision(policy: str, enliven: Enliven) -> None:
    if policy == "mixed_bfloat16" and not backend.detect_hardware().bfloat16:
        pytest.skip("the CPU emulates bfloat16, whose sums then round by more (0.07)")
    plain, efficient = pair(enliven, dtype=policy)
    ours, theirs = step(efficient, True), step(plain, True)
    for name, value in theirs.items():
        scale = np.abs(value).max() + 1e-3
        assert np.abs(ours[name] - value).max() <= 0.05 * scale, name


def test_compiled_with_xla() -> None:
    options = {**SMALL, "depths": (1, 1), "memory_efficient": True}
    efficient = create_model("densenetbc100_k12_cifar", **options)
    images = tf.random.stateless_normal((2, 16, 16, 3), (0, 1))

    @tf.function(jit_compile=True)
    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(efficient(images, training=True))
        return tape.gradient(y, efficient.trainable_variables)

    assert all(np.isfinite(g.numpy()).all() for g in gradients())
