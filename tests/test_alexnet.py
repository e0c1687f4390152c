"""AlexNet: golden counts, the walk of sizes, towers, normalisation and dropout."""

from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from unallocated import counts

from keras_resnet import UsageError, create_model, load_model
from keras_resnet.families.alexnet import ALEXNETS


class Golden(NamedTuple):
    params: int
    macs: int
    source: str


GOLDEN = {
    "alexnet": Golden(60_965_224, 724_406_816, "Caffe's bvlc_alexnet; the paper: 60 M"),
    "alexnet_one_tower": Golden(
        61_100_840, 714_188_480, "torchvision.models.alexnet, num_params and _ops"
    ),
}
WIDTHS = {"alexnet": (96, 256, 384, 384, 256), "alexnet_one_tower": (64, 192, 384, 256)}
SMALL: dict[str, Any] = {"widths": (8, 12, 8, 16, 4), "hidden": 6}


def count(name: str) -> tuple[int, int]:
    """Parameters and multiply-accumulates, by the papers' description alone."""
    towers = 2 if name == "alexnet" else 1
    one, two, three, four, five = (*WIDTHS[name], 256)[:5]
    convs = [  # kernel, channels that a filter sees, filters, side of the output
        (11, 3, one, 55),
        (5, one // towers, two, 27),
        (3, two, three, 13),
        (3, three // towers, four, 13),
        (3, four // towers, five, 13),
    ]
    dense = [(6 * 6 * five, 4096), (4096, 4096), (4096, 1000)]
    weights = [k * k * inputs * filters for k, inputs, filters, _ in convs]
    biases = sum(filters for _, _, filters, _ in convs) + sum(n for _, n in dense)
    products = sum(map(prod, dense))
    macs = sum(w * c[3] ** 2 for w, c in zip(weights, convs, strict=True)) + products
    return sum(weights) + biases + products, macs


@pytest.mark.parametrize("name", ALEXNETS)
def test_golden_counts_follow_from_the_papers(name: str) -> None:
    assert count(name) == GOLDEN[name][:2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ALEXNETS)
def test_counts_are_golden(name: str) -> None:
    assert counts(name) == GOLDEN[name][:2], GOLDEN[name].source


def test_every_network_has_golden_counts() -> None:
    assert set(GOLDEN) == set(ALEXNETS)


def shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    return {x.name: tuple(x.output.shape[1:]) for x in model.layers}


def test_sizes_are_the_papers() -> None:
    """Krizhevsky et al., 2012, section 3.5, figure 2 and its caption."""
    found = shapes(create_model("alexnet", hidden=8))
    assert prod(found["image"]) == 150_528
    assert found["conv1"] == (55, 55, 96)  # 290,400; the caption's 253,440 is a slip
    neurons = [prod(found[f"conv{i}"]) for i in (2, 3, 4, 5)]
    assert neurons == [186_624, 64_896, 64_896, 43_264]
    pools = [found[f"conv{i}_pool"] for i in (1, 2, 5)]
    assert pools == [(27, 27, 96), (13, 13, 256), (6, 6, 256)]
    assert found["flatten"] == (9216,)
    assert found["logits"] == (1000,)


TWO_TOWERS = """
image conv1_pad conv1 conv1_relu conv1_lrn conv1_pool conv2 conv2_relu conv2_lrn
conv2_pool conv3 conv3_relu conv4 conv4_relu conv5 conv5_relu conv5_pool flatten
fc6 fc6_relu fc6_dropout fc7 fc7_relu fc7_dropout logits
"""
ONE_TOWER = """
image conv1_pad conv1 conv1_relu conv1_pool conv2 conv2_relu conv2_pool conv3 conv3_relu
conv4 conv4_relu conv5 conv5_relu conv5_pool flatten fc6_dropout fc6 fc6_relu
fc7_dropout fc7 fc7_relu logits
"""


@pytest.mark.parametrize(
    ("name", "names"), [("alexnet", TWO_TOWERS), ("alexnet_one_tower", ONE_TOWER)]
)
def test_layers_follow_each_other(name: str, names: str) -> None:
    model = create_model(name, **SMALL)
    assert [x.name for x in model.layers] == names.split()
    for before, after in pairwise(model.layers):
        assert after.input is before.output
    for layer in model.layers:
        if "dropout" in layer.name:
            assert layer.rate == 0.5


def test_constants_of_the_normalisation() -> None:
    model = create_model("alexnet", **SMALL)
    for name in ("conv1_lrn", "conv2_lrn"):
        layer = model.get_layer(name)
        assert (layer.k, layer.size, layer.alpha, layer.beta) == (2, 5, 1e-4, 0.75)


def test_towers_meet_in_the_third_convolution() -> None:
    model = create_model("alexnet", **SMALL)
    rng = np.random.default_rng(0)
    for name, meet in (("conv2", 0), ("conv3", 1), ("conv4", 0), ("conv5", 0)):
        layer = model.get_layer(name)
        x = rng.normal(size=(1, 5, 5, layer.input.shape[-1])).astype("float32")
        other = x.copy()
        other[..., x.shape[-1] // 2 :] += 1  # changes the second tower's maps
        changed = np.asarray(layer(x) != layer(other)).any((0, 1, 2))
        half = len(changed) // 2
        assert changed[half:].all()
        assert changed[:half].all() == changed[:half].any() == bool(meet), name


@pytest.mark.parametrize("name", ALEXNETS)
@pytest.mark.parametrize(
    ("shape", "left"), [((63, 63, 3), (1, 1)), ((64, 110, 1), (1, 2))], ids=str
)
def test_other_sizes(
    name: str, shape: tuple[int, int, int], left: tuple[int, int]
) -> None:
    model = create_model(name, input_shape=shape, classes=3, **SMALL)
    assert shapes(model)["conv5_pool"][:2] == left
    y = np.asarray(model(np.ones((2, *shape), "float32")))
    assert y.shape == (2, 3)
    assert np.isfinite(y).all()


@pytest.fixture(scope="module")
def live() -> keras.Model:
    model = create_model("alexnet", input_shape=(63, 63, 3), classes=3, **SMALL)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name == "bias":
            weight.assign(rng.uniform(0, 0.5, weight.shape))
    return model


def images(count: int = 2) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 63, 63, 3)).astype("float32")


def test_no_classes_gives_fc7(live: keras.Model) -> None:
    features = create_model("alexnet", input_shape=(63, 63, 3), classes=0, **SMALL)
    assert [x.name for x in features.layers] == [x.name for x in live.layers[:-1]]
    features.set_weights(live.get_weights()[:-2])
    kernel, bias = live.get_layer("logits").get_weights()
    logits = np.asarray(features(images())) @ kernel + bias
    np.testing.assert_allclose(live(images()), logits, rtol=1e-4, atol=1e-5)


def test_saved_network_is_the_same(live: keras.Model, tmp_path: Path) -> None:
    live.save(tmp_path / "alexnet.keras")
    y = np.asarray(live(images()))
    np.testing.assert_array_equal(load_model(tmp_path / "alexnet.keras")(images()), y)
    assert np.abs(y[0] - y[1]).max() > 1e-3


def test_logits_are_float32_in_half_precision() -> None:
    small: dict[str, Any] = {"input_shape": (63, 63, 3), **SMALL}
    model = create_model("alexnet", dtype="mixed_float16", **small)
    assert model.get_layer("conv1_lrn").output.dtype == "float16"
    assert model(images()).dtype == "float32"


@pytest.mark.parametrize("name", ALEXNETS)
def test_fresh_signal_neither_dies_nor_explodes(name: str) -> None:
    model = create_model(name, hidden=256, input_shape=(95, 95, 3))
    x = np.random.default_rng(0).normal(size=(4, 95, 95, 3)).astype("float32")
    assert 0.02 < np.asarray(model(x)).std() < 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (None, 224, 3)}, "height and width .* fixed, got None; give"),
        ({"input_shape": (62, 63, 3)}, "input of alexnet must be at least 63×63"),
        ({"widths": (8, 8)}, r"widths must be 5 positive channel counts, got \(8, 8\)"),
        ({"widths": (8, 8, 8, 8, 0)}, "widths must be 5 positive channel counts"),
        ({"widths": (8, 8, 8, 8, 9)}, "multiples of the number of towers, 2, got"),
        ({"towers": 0}, "towers must be at least 1, got 0"),
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be a rate of at least 0 and less than 1, got"),
        ({"dropout": -0.1}, "dropout must be a rate of at least 0 .*, got -0.1"),
        ({"dropout_at": "all"}, "dropout_at must be one of outputs, inputs, got 'all'"),
    ],
)
def test_mistake_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model("alexnet", **{"hidden": 8, **options})
