"""Paths: exact counts, and gradients against their sum over all of them."""

import itertools
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import comb
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_resnet import UsageError, command, create_model, load_model
from keras_resnet.analysis.gated import GatedNetwork
from keras_resnet.analysis.paths import (
    EffectivePaths,
    PathGradients,
    lengths_pmf,
    paths,
    shortest_range,
    summary,
)
from training import analyse as analysis
from training.runs.run import Run

Enliven = Callable[[keras.Model], keras.Model]
TINY = {"input_shape": (8, 8, 1), "classes": 3}
LABELS = np.array([0, 1, 2, 1])


def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype("float32")


def test_pmf_is_binomial_exactly() -> None:
    pmf = lengths_pmf(54)
    exact = [Fraction(comb(54, k), 2**54) for k in range(55)]
    assert pmf.sum() == pytest.approx(1, abs=1e-12)
    assert pmf[5:18].sum() == pytest.approx(float(sum(exact[5:18])), abs=1e-12)
    assert pmf[19:36].sum() == pytest.approx(float(sum(exact[19:36])), abs=1e-12)
    # The paper: 0.45 % of the paths, and more than 95 %.
    assert f"{pmf[5:18].sum():.6f}" == "0.004537"
    assert f"{pmf[19:36].sum():.6f}" == "0.980166"


@pytest.mark.parametrize(
    ("weights", "covered", "expected"),
    [
        ([0, 1, 8, 1, 0], 0.8, (2, 2)),
        ([0, 1, 8, 2, 0], 0.9, (2, 3)),
        ([1, 1, 1, 1], 1.0, (0, 3)),
        ([5, 0, 0, 5], 0.6, (0, 3)),
        ([1e-20, 1, 1e-20], 1.0, (1, 1)),
    ],
)
def test_shortest_range(
    weights: list[float], covered: float, expected: tuple[int, int]
) -> None:
    assert shortest_range(weights, covered) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("resnet20_cifar", {"depths": (2, 2), "shortcut": "B"}),
        ("resnet20_cifar", {"depths": (1, 2), "order": "full_preactivation"}),
        ("resnet20_cifar", {"depths": (1, 2), "survival": 0.5}),
        ("highway20_cifar", {"depths": (2, 2)}),
    ],
    ids=["original", "preactivation", "stochastic", "highway"],
)
def test_sum_over_all_paths_is_the_gradient(
    name: str, fields: dict[str, object], enliven: Enliven
) -> None:
    model = enliven(create_model(name, **TINY, **fields))
    x = tf.constant(images())
    with tf.GradientTape() as tape:
        tape.watch(x)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            LABELS, model(x, training=False)
        )
    full = np.array(tape.gradient(losses, x))
    gradients = PathGradients(model)
    units = len(gradients.network.units)
    along = [
        gradients.along(np.array(taken), images(), LABELS)
        for taken in itertools.product([False, True], repeat=units)
    ]
    assert len(along) == 2**units
    assert all(np.abs(path).max() > 0 for path in along[1:-1])
    scale = np.abs(full).max()
    assert np.abs(np.sum(along, axis=0) - full).max() < 1e-6 * max(1, scale)


def test_a_plain_network_has_one_path() -> None:
    with pytest.raises(UsageError, match="need residual units, got plain20_cifar"):
        PathGradients(create_model("plain20_cifar", **TINY, depths=(2, 2)))


@pytest.mark.slow
def test_paths_of_a_small_network(enliven: Enliven) -> None:
    model = enliven(create_model("resnet20_cifar", **TINY, depths=(2, 2)))
    found = paths(model, [(images(), LABELS)], samples=3, seed=1)
    assert found.units == 4 and found.samples == 3
    assert found.pmf == [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16]
    assert sum(found.contribution) == pytest.approx(1)
    low, high = found.effective
    assert sum(found.contribution[low : high + 1]) >= 0.95
    assert found.share == pytest.approx(sum(found.pmf[low : high + 1]))
    assert found == paths(model, [(images(), LABELS)], samples=3, seed=1)
    # There is one path of length 0, and one of length n.
    gradients = PathGradients(model)
    for k in (0, 4):
        flat = gradients.along(np.full(4, k > 0), images(), LABELS).reshape(4, -1)
        norm = np.linalg.norm(flat, axis=1).mean()
        assert found.gradient[k] == pytest.approx(norm, rel=1e-5)


def test_a_falling_gradient_shortens_the_effective_paths() -> None:
    even = summary("even", np.ones(55), 1)
    falling = summary("falling", 0.3 ** np.arange(55), 1)
    assert even.effective[0] > 19 and even.share > 0.95
    assert sum(falling.effective) < sum(even.effective)
    assert falling.share < 0.05


@pytest.mark.slow
def test_effective_paths_let_few_branches_learn(enliven: Enliven) -> None:
    model = enliven(create_model("resnet20_cifar", **TINY, depths=(2, 2)))
    gated = GatedNetwork(model)
    callback = EffectivePaths(gated, (0, 1), seed=3)
    assert callback.drawn == 1
    learning = []
    for step in range(8):
        callback.on_epoch_begin(0)
        callback.on_train_batch_begin(step)
        with tf.GradientTape() as tape:
            logits = gated.model(images(), training=False)
        np.testing.assert_allclose(logits, model(images()), atol=1e-6)
        kernels = [model.get_layer(f"{u}_conv1").kernel.value for u in gated.units]
        moved = [float(tf.norm(g)) > 0 for g in tape.gradient(logits, kernels)]
        assert sum(moved) == 1
        learning.append(moved.index(True))
    assert len(set(learning)) > 1


@pytest.mark.slow
def test_command_trains_on_effective_paths(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from training.experiment.effective_paths import train_effective
    from training.experiment.train import train

    own = Run(tmp_path / "own")
    train(replace(run.recipe, epochs=1, warmup_epochs=0.0, ema=0.5), own)
    options = ("--images", "16", "--batch-size", "8", "--samples", "2")
    arguments = ["analysis", "paths", str(own.path), *options, "--train-effective"]
    monkeypatch.setattr(sys, "argv", arguments)
    command.run(analysis.main)
    values = json.loads((own.path / "analysis" / "paths.json").read_text("utf-8"))
    assert (values["units"], len(values["pmf"]), len(values["gradient"])) == (3, 4, 4)
    beside = Run(tmp_path / "own-effective")
    assert beside.complete
    assert "effective paths" in capsys.readouterr().out
    saved, ordinary = (load_model(r.model) for r in (beside, own))
    assert [x.name for x in saved.layers] == [x.name for x in ordinary.layers]
    # All three branches are drawn, which is ordinary training.
    for weight, other in zip(saved.weights, ordinary.weights, strict=True):
        np.testing.assert_allclose(np.array(weight), np.array(other), atol=1e-5)
    with pytest.raises(UsageError, match=r"effective lengths \(0, 1\), got \("):
        train_effective(own, (0, 1))
    shutil.rmtree(beside.path)
    few = load_model(train_effective(own, (0, 1)).model)
    name = "stage1_block1_conv1"
    kernel, other = (np.array(m.get_layer(name).kernel) for m in (few, ordinary))
    assert np.abs(kernel - other).max() > 1e-4
