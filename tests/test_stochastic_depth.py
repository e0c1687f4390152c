"""Stochastic depth: the decay rule, the draws, what is computed, and what is served."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from unallocated import unallocated

from keras_resnet import count_macs, count_params, create_model, load_model
from keras_resnet.catalogue import build_model
from keras_resnet.errors import UsageError
from keras_resnet.layers import StochasticDepth, leaf_layers

Enliven = Callable[[keras.Model], keras.Model]
SHAPE = (4, 4, 3)


def layer(survival: float, mode: str = "batch") -> StochasticDepth:
    """h + d·F(x), F a convolution and a normalisation."""
    x = keras.Input(SHAPE)
    y = keras.layers.Conv2D(3, 3, padding="same", name="conv")(x)
    branch = keras.Model(x, keras.layers.BatchNormalization(name="norm")(y))
    return StochasticDepth(branch, survival, mode, seed=1)


def images(count: int = 5) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, *SHAPE)).astype("float32")


def test_the_tests_randomise_every_batch_norm(enliven: Enliven) -> None:
    fields = {"depths": (1, 2), "survival": 0.5, "input_shape": (8, 8, 3)}
    model = enliven(create_model("resnet20_cifar", **fields))
    norms = {
        weight.path: np.asarray(weight)
        for weight in model.weights  # Keras' list, with those of nested layers
        if weight.name in ("gamma", "beta", "moving_mean", "moving_variance")
    }
    assert len(norms) == 4 * (1 + 2 * 3)  # of the stem, and of two in each unit
    for path, values in norms.items():
        assert len(set(values)) == len(values), path  # neither zeros nor ones


@pytest.mark.parametrize("mode", ["batch", "sample"])
def test_inference_scales_by_the_survival_probability(mode: str) -> None:
    drop = layer(0.3, mode)
    h, x = images(), 2 * images()
    expected = h + 0.3 * drop.branch(x, training=False)
    np.testing.assert_allclose(drop([h, x], training=False), expected, rtol=1e-6)
    np.testing.assert_allclose(drop([h, x]), expected, rtol=1e-6)


def test_a_batch_keeps_all_or_nothing() -> None:
    drop = layer(0.5)
    step = tf.function(lambda h, x: drop([h, x], training=True))
    h, x = images(), 2 * images()
    whole = h + drop.branch(x, training=True)
    kept = 0
    for _ in range(40):
        y = step(h, x)
        if np.array_equal(y, h):
            continue
        np.testing.assert_allclose(y, whole, rtol=1e-5, atol=1e-5)
        kept += 1
    assert 8 <= kept <= 32


def test_samples_are_drawn_apart() -> None:
    drop = layer(0.5, "sample")
    h, x = images(64), 2 * images(64)
    whole = h + drop.branch(x, training=True)
    y = drop([h, x], training=True)
    kept = [not np.array_equal(a, b) for a, b in zip(y, h, strict=True)]
    assert 16 <= sum(kept) <= 48
    np.testing.assert_allclose(
        np.asarray(y)[kept], np.asarray(whole)[kept], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    "mode", [pytest.param("batch", marks=pytest.mark.slow), "sample"]
)
@pytest.mark.parametrize("survival", [0.5, 0.9])
def test_rate_over_ten_thousand_draws(survival: float, mode: str) -> None:
    drop = layer(survival, mode)
    if mode == "sample":
        draws = drop._draw(tf.zeros((10_000, 1, 1, 1)))
    else:
        draws = tf.function(
            lambda: tf.map_fn(
                lambda _: tf.cast(drop._draw(tf.zeros(1)), tf.float32),
                tf.zeros(10_000),
                parallel_iterations=1,
            )
        )()
    rate = float(tf.reduce_mean(tf.cast(draws, tf.float32)))
    # Five standard deviations of a Bernoulli mean.
    assert rate == pytest.approx(survival, abs=5 * (survival / 1e4) ** 0.5)


def test_a_dropped_branch_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    drop = layer(0.5)
    norm = drop.branch.get_layer("norm")
    h, x = images(), 2 * images()
    before = np.array(norm.moving_mean)
    monkeypatch.setattr(drop, "_draw", lambda h: tf.constant(False))
    weights = [v.value for v in drop.trainable_variables]

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            y = drop([h, x], training=True)
            total = tf.reduce_sum(y**2)
        return y, tape.gradient(total, weights)

    y, gradients = step()
    np.testing.assert_array_equal(y, h)
    assert all(not np.any(g) for g in gradients)
    np.testing.assert_array_equal(norm.moving_mean, before)  # saw nothing
    names = {op.name for op in step.get_concrete_function().graph.get_operations()}
    assert not any("Conv2D" in name for name in names)  # only inside the conditional


@pytest.mark.slow
def test_sd_network_follows_the_linear_decay_rule() -> None:
    with unallocated():
        model = build_model("resnet110_sd_cifar")
    drops = [x for x in model.layers if isinstance(x, StochasticDepth)]
    expected = [1 - unit / 54 * (1 - 0.5) for unit in range(1, 55)]
    assert [drop.survival for drop in drops] == pytest.approx(expected)
    assert drops[-1].survival == 0.5
    assert {drop.mode for drop in drops} == {"batch"}
    # Section 5: 3/4 of the units are computed on average, (3L − 1)/4 of them.
    assert sum(expected) == pytest.approx((3 * 54 - 1) / 4)


def test_same_weights_as_without() -> None:
    options: dict[str, Any] = {"depths": (2, 1, 1), "input_shape": (8, 8, 3)}
    plain = create_model("resnet20_cifar", **options)
    model = create_model("resnet20_cifar", survival=0.5, **options)
    of_plain = {x.name: [w.shape for w in x.weights] for x in plain.layers if x.weights}
    leaves = [x for x in leaf_layers(model) if not isinstance(x, StochasticDepth)]
    assert {x.name: [w.shape for w in x.weights] for x in leaves if x.weights} == (
        of_plain
    )
    assert count_params(model) == count_params(plain)
    assert count_macs(model) == count_macs(plain)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "skip", "mode"),
    [
        ("original", "identity", "batch"),
        ("original", "exclusive_gating", "sample"),
        ("full_preactivation", "identity", "sample"),
        ("full_preactivation", "exclusive_gating", "batch"),
    ],
)
def test_saved_and_loaded(order: str, skip: str, mode: str, tmp_path: Path) -> None:
    model = create_model(
        "resnet20_cifar",
        depths=(2, 1),
        input_shape=(8, 8, 3),
        survival=0.5,
        order=order,
        skip=skip,
        drop_mode=mode,
    )
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(loaded(x), model(x))
    drops = [x for x in loaded.layers if isinstance(x, StochasticDepth)]
    assert [d.survival for d in drops] == pytest.approx([5 / 6, 4 / 6, 3 / 6])
    assert [d.mode for d in drops] == [mode] * 3
    assert np.isfinite(loaded(x, training=True)).all()


@pytest.mark.slow
def test_compiled_with_xla() -> None:
    drop = layer(0.5)
    step = tf.function(lambda h, x: drop([h, x], training=True), jit_compile=True)
    h, x = tf.constant(images()), tf.constant(2 * images())
    outcomes = {bool(np.array_equal(step(h, x), h)) for _ in range(20)}
    assert outcomes == {True, False}


@pytest.mark.parametrize("survival", [0.0, -0.5, 1.5])
def test_survival_is_a_probability(survival: float) -> None:
    with pytest.raises(UsageError, match="survival must be a probability greater than"):
        create_model("resnet20_cifar", survival=survival)


def test_a_plain_network_cannot_drop() -> None:
    with pytest.raises(UsageError, match=r"without shortcuts .* survival 1, got"):
        create_model("plain20_cifar", survival=0.5)


ADDONS = json.loads((Path(__file__).parent / "golden" / "addons.json").read_text())


@pytest.mark.parametrize("case", ADDONS["cases"], ids=lambda c: str(c["survival"]))
def test_equals_tensorflow_addons(
    case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its StochasticDepth, recorded by golden/make_addons_golden.py."""
    x = keras.Input((3, 3, 2))
    drop = StochasticDepth(keras.Model(x, keras.layers.Identity()(x)), case["survival"])
    h, f = (tf.constant(case[name]) for name in ("shortcut", "branch"))
    np.testing.assert_allclose(drop([h, f]), case["inference"], rtol=1e-6)
    for outcome in ("kept", "dropped"):
        monkeypatch.setattr(
            drop, "_draw", lambda h, o=outcome: tf.constant(o == "kept")
        )
        with tf.GradientTape() as tape:
            tape.watch([h, f])
            y = drop([h, f], training=True)
            total = tf.reduce_sum(y**2)
        expected = case["training"][outcome]
        np.testing.assert_allclose(y, expected["output"], rtol=1e-6)
        slopes = tape.gradient(total, [h, f], unconnected_gradients="zero")
        for slope, recorded in zip(slopes, expected["gradients"], strict=True):
            np.testing.assert_allclose(slope, recorded, rtol=1e-6)
    deviation = (case["survival"] * (1 - case["survival"]) / ADDONS["draws"]) ** 0.5
    assert case["rate"] == pytest.approx(case["survival"], abs=5 * deviation)
