"""Gradients of every layer, against a tape by hand; what a probe leaves alone."""

import json
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_resnet import command, create_model
from keras_resnet.analysis.gradients import GradientNorms, GradientProbe, Gradients
from keras_resnet.analysis.plots import plot_gradients
from training import analyse as analysis
from training.runs.run import Run

Enliven = Callable[[keras.Model], keras.Model]
TINY = {"input_shape": (8, 8, 1), "classes": 3}
LABELS = np.array([0, 1, 2, 1])


def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype("float32")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20_cifar", "plain20_cifar", "highway20_cifar"])
def test_norms_are_those_of_a_tape(name: str, enliven: Enliven) -> None:
    model = enliven(create_model(name, **TINY, depths=(1, 2)))
    before = [np.array(v) for v in model.variables]
    found = GradientProbe(model, images(), LABELS)()
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)
    kernels = {x.name: x.kernel.value for x in model.layers if hasattr(x, "kernel")}
    with tf.GradientTape() as tape:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            LABELS, model(images(), training=True)
        )
        loss = tf.reduce_mean(losses)
    by_hand = tape.gradient(loss, kernels)
    assert list(found.kernels) == list(kernels)
    for layer, gradient in by_hand.items():
        assert found.kernels[layer] == pytest.approx(float(tf.norm(gradient)), rel=1e-3)
    ratio = tf.norm(by_hand["stem_conv"]) / tf.norm(by_hand["logits"])
    assert found.ratio == pytest.approx(float(ratio), rel=1e-3)
    assert list(found.units) == ["stage1_block1", "stage2_block1", "stage2_block2"]
    assert all(norm > 0 for norm in found.units.values())


def test_gradient_at_the_last_unit_by_hand() -> None:
    model = create_model("resnet20_cifar", **TINY, depths=(1,))
    pool, logits = model.get_layer("pool"), model.get_layer("logits")
    pooled = np.array(keras.Model(model.input, pool.output)(images(), training=True))
    kernel, bias = logits.get_weights()
    softmax = np.array(keras.ops.softmax(pooled @ kernel + bias))
    # From the logits through the dense layer and the mean of 64 pixels to each of them.
    at_pixels = (softmax - np.eye(3)[LABELS]) @ kernel.T / 64
    by_hand = np.sqrt(64 * (at_pixels**2).sum(1)).mean()
    found = GradientProbe(model, images(), LABELS)()
    assert found.units["stage1_block1"] == pytest.approx(by_hand, rel=1e-4)


def test_axes_of_the_plot_are_labelled_evenly() -> None:
    """At powers of ten, though the norms span less than one, and at whole layers."""
    norms = {f"layer{i}": 0.3 + i / 10 for i in range(4)}
    figure = plot_gradients({"a": Gradients(norms, norms, norms)})
    figure.draw_without_rendering()
    kernels, units, _ = figure.axes
    for ax in (kernels, units):
        assert ax.get_ylim() == (0.1, 1)
        assert not any(label.get_text() for label in ax.get_yticklabels(minor=True))
        assert all(tick == int(tick) for tick in ax.get_xticks())


def test_dead_channels_are_counted() -> None:
    model = create_model("plain20_cifar", **TINY, depths=(1,))
    norm = model.get_layer("stage1_block1_norm1")
    beta = np.zeros(16)
    beta[:4] = -100
    norm.beta.assign(beta)
    found = GradientProbe(model, images(), LABELS)()
    assert found.dead["stage1_block1_relu1"] == pytest.approx(4 / 16)
    assert found.dead["stem_relu"] == 0


@pytest.mark.slow
def test_dropped_branches_have_no_gradient() -> None:
    model = create_model("resnet20_cifar", **TINY, depths=(2,), survival=0.001)
    norms = [GradientProbe(model, images(), LABELS)() for _ in range(2)]
    assert norms[0].kernels["stage1_block2_conv1"] == 0
    assert norms[0].kernels["stem_conv"] > 0
    assert norms[0] == norms[1]  # the seed is put back


@pytest.mark.slow
def test_callback_records_while_any_model_trains() -> None:
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(5, activation="relu", name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(hidden))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 6)), rng.normal(size=(12, 1))
    x = x.astype("float32")
    loss = keras.losses.MeanSquaredError()
    model.compile("sgd", loss)
    norms = GradientNorms(x[:4], y[:4], every=2, loss=loss)
    model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=[norms])
    assert [step for step, _ in norms.records] == [0, 2, 4]
    first, *_, last = [found for _, found in norms.records]
    assert set(first.kernels) == {"hidden", "out"} and first.units == {}
    assert set(first.dead) == {"hidden"}
    assert first.kernels != last.kernels


class Wrapped(keras.Model):
    """A subclass around a network."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.network(x, training=training)


def functional(network: keras.Model) -> keras.Model:
    image = keras.Input((8, 8, 1))
    return keras.Model(image, network(image))


def norms_of(
    wrap: Callable[[keras.Model], keras.Model], survival: float
) -> dict[str, Any]:
    """What the callback finds as a network, or a model around it, is trained."""
    keras.utils.set_random_seed(0)
    fields = {"depths": (1, 2), "survival": survival}
    model = wrap(create_model("resnet20_cifar", **TINY, **fields))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    norms = GradientNorms(images(), LABELS, every=1)
    model.fit(images(), LABELS, verbose=0, callbacks=[norms])
    return norms.records[0][1].to_dict()


@cache
def bare_norms(survival: float) -> dict[str, Any]:
    return norms_of(lambda network: network, survival)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrap", "survival"),
    [
        (functional, 0.5),
        (lambda network: keras.Sequential([network]), 1.0),
        (Wrapped, 0.5),
    ],
)
def test_callback_sees_a_network_within_a_model(
    wrap: Callable[[keras.Model], keras.Model], survival: float
) -> None:
    plain, wrapped = bare_norms(survival), norms_of(wrap, survival)
    assert list(plain["units"]) == ["stage1_block1", "stage2_block1", "stage2_block2"]
    for kind in ("kernels", "units", "dead"):
        assert list(wrapped[kind]) == list(plain[kind])
        assert wrapped[kind] == pytest.approx(plain[kind], rel=1e-3)


@pytest.mark.slow
def test_callback_changes_no_training() -> None:
    x = np.repeat(images(), 4, 0)
    y = np.repeat(LABELS, 4)
    weights = []
    for callbacks in ([], [GradientNorms(x[:4], y[:4], every=1)]):
        keras.utils.set_random_seed(0)
        model = create_model("resnet20_cifar", **TINY, depths=(1,), survival=0.5)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss)
        model.fit(x, y, batch_size=8, verbose=0, shuffle=False, callbacks=callbacks)
        weights.append([np.array(w) for w in model.weights])
    for with_it, without in zip(*weights, strict=True):
        np.testing.assert_allclose(with_it, without, atol=1e-6)


@pytest.mark.slow
def test_command_compares_runs(
    run: Run,
    other_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Those of one name are told apart by their paths."""
    paths = [tmp_path / name for name in ("a/run", "other", "b/run")]
    for source, path in zip((run, other_run, run), paths, strict=True):
        shutil.copytree(source.path, path)
    arguments = ["gradients", *map(str, paths), "--images", "8"]
    monkeypatch.setattr(sys, "argv", ["analysis", *arguments])
    command.run(analysis.main)
    folder = paths[0] / "analysis"
    values = json.loads((folder / "gradients.json").read_text("utf-8"))
    told = (paths[0], "other", paths[2])
    names = [f"{name}, {state}" for name in told for state in ("fresh", "trained")]
    assert list(values["networks"]) == names
    found = values["networks"][names[0]]
    norms = list(found["kernels"].values())
    assert found["ratio"] == pytest.approx(norms[0] / norms[-1])
    assert (folder / "gradients.png").stat().st_size > 10_000
    assert "first kernel over that at the last" in capsys.readouterr().out
