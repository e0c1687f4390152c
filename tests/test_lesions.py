"""Deletion and reordering of units, against networks built without them."""

import json
import sys
from collections.abc import Callable

import keras
import numpy as np
import pytest
from unallocated import unallocated

from keras_resnet import UsageError, command, create_model
from keras_resnet.analysis.gated import GatedNetwork
from keras_resnet.analysis.lesions import (
    Lesioned,
    Lesions,
    kendall_tau,
    lesions,
    swapped,
)
from keras_resnet.analysis.plots import plot_lesions
from keras_resnet.catalogue import build_model
from keras_resnet.layer_names import unit_of
from training import analyse as analysis
from training.runs.run import Run

Enliven = Callable[[keras.Model], keras.Model]
TINY = {"input_shape": (8, 8, 1), "classes": 3}
NETWORKS = {
    "resnet": ("resnet20_cifar", {"depths": (2, 2)}),
    "projections": ("resnet20_cifar", {"depths": (2, 2), "shortcut": "B"}),
    "preactivation": (
        "resnet20_cifar",
        {"depths": (2, 2), "order": "full_preactivation"},
    ),
    "bottleneck": ("resnet164_cifar", {"depths": (1, 2), "width": 4}),
    "stochastic": ("resnet20_cifar", {"depths": (2, 2), "survival": 0.5}),
    "gated": ("resnet20_cifar", {"depths": (2, 2), "skip": "exclusive_gating"}),
    "gated_stochastic": (
        "resnet20_cifar",
        {"depths": (2, 2), "skip": "exclusive_gating", "survival": 0.5},
    ),
    "plain": ("plain20_cifar", {"depths": (2, 2)}),
    "highway": ("highway20_cifar", {"depths": (2, 2)}),
    "vgg": ("vgg11_bn", {"depths": (2, 2), "widths": (8, 16), "hidden": 8}),
}


def images(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 8, 8, 1)).astype("float32")


def outputs(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return np.array(model(x, training=False))


@pytest.fixture(params=NETWORKS)
def model(request: pytest.FixtureRequest, enliven: Enliven) -> keras.Model:
    name, fields = NETWORKS[request.param]
    return enliven(create_model(name, **TINY, **fields))


@pytest.mark.slow
def test_every_deletion_matters_and_a_whole_network_is_the_network(
    model: keras.Model,
) -> None:
    x, gated = images(), GatedNetwork(model)
    whole = outputs(model, x)
    np.testing.assert_allclose(outputs(gated.model, x), whole, atol=1e-6)
    gated.keep(np.zeros(len(gated.units), bool))
    assert np.abs(outputs(gated.model, x) - whole).max() > 1e-3
    gated.reset()
    np.testing.assert_allclose(outputs(gated.model, x), whole, atol=1e-6)
    for unit in range(len(gated.units)):
        kept = np.arange(len(gated.units)) != unit
        gated.keep(kept)
        assert np.abs(outputs(gated.model, x) - whole).max() > 1e-4, unit


@pytest.mark.parametrize("order", ["original", "full_preactivation"])
def test_deletion_leaves_f_of_h(order: str, enliven: Enliven) -> None:
    # Zeros in the last convolution (and norm) of a branch make F = 0.
    fields = {"depths": (1, 2), "shortcut": "B", "order": order}
    model = enliven(create_model("resnet20_cifar", **TINY, **fields))
    gated = GatedNetwork(model)
    assert gated.units == ("stage1_block1", "stage2_block1", "stage2_block2")
    gated.keep(np.array([True, False, False]))
    lesioned = outputs(gated.model, images())
    for unit in gated.units[1:]:
        for layer in model.layers:
            if layer.name in (f"{unit}_conv2", f"{unit}_norm2") and (
                order == "original" or "conv" in layer.name
            ):
                for weight in layer.weights:
                    if weight.name in ("kernel", "gamma", "beta"):
                        weight.assign(np.zeros(weight.shape))
    np.testing.assert_allclose(outputs(model, images()), lesioned, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["plain20_cifar", pytest.param("highway20_cifar", marks=pytest.mark.slow)]
)
def test_one_path_without_a_unit_is_a_shallower_network(
    name: str, enliven: Enliven
) -> None:
    deep = enliven(create_model(name, **TINY, depths=(2, 2)))
    shallow = create_model(name, **TINY, depths=(1, 2))
    for layer in shallow.layers:
        layer.set_weights(deep.get_layer(layer.name).get_weights())
    gated = GatedNetwork(deep)
    assert gated.kept == ("stage2_block1",)
    gated.keep(np.array([True, False, True]))
    np.testing.assert_allclose(
        outputs(gated.model, images()), outputs(shallow, images()), atol=1e-6
    )


def test_survival_stays_with_the_kept(enliven: Enliven) -> None:
    fields = {"depths": (2,), "survival": 0.5}
    model = enliven(create_model("resnet20_cifar", **TINY, **fields))
    gated = GatedNetwork(model)
    gated.keep(np.array([False, True]))
    layer = model.get_layer("stage1_block1_add")
    layer.survival = 0.0
    np.testing.assert_allclose(
        outputs(gated.model, images()), outputs(model, images()), atol=1e-6
    )


@pytest.mark.slow
def test_reordering_moves_weights_and_survival(enliven: Enliven) -> None:
    fields = {"depths": (3,), "survival": 0.4}
    model = enliven(create_model("resnet20_cifar", **TINY, **fields))
    other = create_model("resnet20_cifar", **TINY, **fields)
    order = np.array([2, 0, 1])
    for layer in model.layers:
        other.get_layer(layer.name).set_weights(layer.get_weights())
    for place, mover in enumerate(order):
        source = model.get_layer(f"stage1_block{mover + 1}_add")
        target = other.get_layer(f"stage1_block{place + 1}_add")
        target.set_weights(source.get_weights())
        target.survival = source.survival
    whole = outputs(model, images())
    gated = GatedNetwork(model)
    gated.order(order)
    np.testing.assert_allclose(
        outputs(gated.model, images()), outputs(other, images()), atol=1e-6
    )
    gated.order(np.argsort(order))
    np.testing.assert_array_equal(outputs(model, images()), whole)


def test_only_alike_units_are_exchanged() -> None:
    model = create_model("resnet20_cifar", **TINY, depths=(2, 3), shortcut="B")
    assert GatedNetwork(model).exchangeable == [[0, 1], [3, 4]]
    rng = np.random.default_rng(0)
    for _ in range(20):
        order = swapped([[0, 1], [3, 4]], 5, 3, rng)
        assert order[2] == 2 and set(order[:2]) == {0, 1}


def test_kendall_tau() -> None:
    assert kendall_tau(np.arange(5)) == pytest.approx(1)
    assert kendall_tau(np.arange(5)[::-1]) == pytest.approx(-1)
    assert kendall_tau(np.array([1, 0, 2, 3])) == pytest.approx(1 - 2 / 6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lenet5", "googlenet", "densenet40_k12_cifar"])
def test_networks_without_units_are_refused(name: str) -> None:
    message = "must have residual units, or be a plain or"
    with unallocated(), pytest.raises(UsageError, match=message):
        GatedNetwork(build_model(name))


@pytest.mark.parametrize(
    ("layer", "unit"),
    [
        ("stage2_block10_conv1", "stage2_block10"),
        ("stage3_relu2", "stage3_conv2"),
        ("stage3_pool", None),
        ("stem_conv", None),
        ("stage1_layer2_conv1", None),
    ],
)
def test_unit_of(layer: str, unit: str | None) -> None:
    assert unit_of(layer) == unit


@pytest.mark.slow
def test_lesions_are_repeatable_and_complete(enliven: Enliven) -> None:
    model = enliven(create_model("resnet20_cifar", **TINY, depths=(2, 2)))
    x = images(10)
    labels = outputs(model, x).argmax(-1)  # so the whole network errs on none
    batches = [(x[:6], labels[:6]), (x[6:], labels[6:])]
    before = [np.array(w) for w in model.weights]
    found = lesions(model, batches, draws=2, most=3, seed=5)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(np.array(weight), value)
    assert (found.error, found.images) == (0.0, 10)
    assert list(found.single) == list(GatedNetwork(model).units)
    assert {k: len(e) for k, e in found.deleted.items()} == {1: 2, 2: 2, 3: 2}
    assert {k: len(d) for k, d in found.reordered.items()} == {1: 2, 2: 2, 3: 2}
    assert found == lesions(model, batches, draws=2, most=3, seed=5)
    lesioned = Lesioned(model, batches)
    by_hand = np.ones(4, bool)
    by_hand[1] = False
    gated = GatedNetwork(model)
    gated.keep(by_hand)
    wrong = np.mean(outputs(gated.model, x).argmax(-1) != labels)
    assert lesioned.without([1]) == pytest.approx(wrong)
    assert len(found.rows()) == 1 + 4 + 6 + 6
    head, *lines = found.table().splitlines()
    assert head.split() == ["count", "deleted", "swapped", "τ"]
    mean, spread = (100 * f(found.deleted[2]) for f in (np.mean, np.std))
    assert lines[1].split()[:4] == ["2", f"{mean:.2f}", "±", f"{spread:.2f}"]
    json.dumps(found.to_dict())


def analyse(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["analysis", *arguments])
    command.run(analysis.main)


@pytest.mark.slow
def test_command_writes_the_files(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--images", "10", "--draws", "1", "--most", "2")
    analyse(monkeypatch, "lesions", str(run.path), *options)
    folder = run.path / "analysis"
    assert {f"lesions.{s}" for s in ("json", "csv", "svg", "png")} <= {
        file.name for file in folder.iterdir()
    }
    values = json.loads((folder / "lesions.json").read_text("utf-8"))
    assert set(values["single"]) == {f"stage{i}_block1" for i in (1, 2, 3)}
    assert values["summary"] in capsys.readouterr().out
    assert values["summary"] in (folder / "lesions.svg").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lesions", "nowhere"), "must hold a config.json, got 'nowhere'"),
        (("lesions", "nowhere", "--images", "0"), "images must be at least 1, got 0"),
        (("paths", "nowhere", "--samples", "0"), "samples must be at least 1, got 0"),
        (("gradients",), "at least one run, got none"),
        (("bogus",), "bogus"),
    ],
)
def test_mistake_is_one_line(
    arguments: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        analyse(monkeypatch, *arguments)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert said in error and error.count("\n") == 1


def test_stages_are_named_below_the_middle_of_their_bars() -> None:
    units = ("stage1_block1", "stage1_block2", "stage1_block3", "stage2_block1")
    found = Lesions("net", 8, 0.1, (), dict.fromkeys(units, 0.2), {1: [0.2]}, {})
    single = plot_lesions(found).axes[0]
    assert list(single.get_xticks()) == [1, 3]
    assert [label.get_text() for label in single.get_xticklabels()] == ["1", "2"]
    assert list(single.get_xticks(minor=True)) == [-0.5, 2.5, 3.5]  # between stages
