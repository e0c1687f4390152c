"""A folded network is the same function, with fewer operations."""

import zlib
from typing import Any

import keras
import numpy as np
import pytest
from backends import NETWORKS, SMALL
from keras import layers

from keras_resnet import create_model
from keras_resnet.errors import UsageError
from keras_resnet.families.branch import ORDERS
from keras_resnet.families.residual import SKIPS
from keras_resnet.folding import fold
from keras_resnet.layers import Nested, StochasticDepth, leaf_layers
from keras_resnet.weights.assign import weights_of

# Norms that stay: those that no convolution stands directly before.
REMAINING = {
    "resnet50_v2": ["stage1_block2_pre_norm", "stage2_block1_pre_norm", "final_norm"],
    "bn_after_addition": ["stage1_block1_norm", "stage2_block1_norm"],
    "full_preactivation": ["stage2_block1_pre_norm", "final_norm"],
    "densenet121": [
        *("stage1_layer1_norm1", "stage1_layer2_norm1", "transition1_norm"),
        *("stage2_layer1_norm1", "stage2_layer2_norm1", "final_norm"),
    ],
}
TINY: dict[str, Any] = {**SMALL, "depths": (1, 1)}


def lively(name: str, **options: Any) -> keras.Model:
    """A network whose weights, statistics included, are all different."""
    model = create_model(name, **options)
    for path, variable in weights_of(model).items():
        rng = np.random.default_rng(zlib.crc32(path.encode()))
        spread = rng.uniform(0.5, 1.5, variable.shape)
        if len(variable.shape) > 1:
            signs = rng.choice([-1.0, 1.0], variable.shape)
            spread = spread * signs / np.sqrt(np.prod(variable.shape[:-1]))
        elif variable.name in ("beta", "bias", "moving_mean"):
            spread -= 1
        variable.assign(spread)
    return model


def images(model: keras.Model) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, *model.input_shape[1:])).astype("float32")


def norms(model: keras.Model) -> list[str]:
    every = [x for x in leaf_layers(model) if isinstance(x, layers.BatchNormalization)]
    return [layer.name for layer in every]


def assert_same(model: keras.Model, folded: keras.Model) -> None:
    x = images(model)
    expected = np.asarray(model(x, training=False))
    assert expected.std() > 1e-3, "the networks must be alive"
    found = np.asarray(folded(x, training=False))
    np.testing.assert_allclose(found, expected, atol=1e-5 * abs(expected).max())


def test_the_input_is_the_networks_whatever_floatx_is() -> None:
    model = lively("resnet20_cifar", **TINY)
    keras.config.set_floatx("float16")
    try:
        folded = fold(model)
        assert folded.input.dtype == "float32"
        assert_same(model, folded)
    finally:
        keras.config.set_floatx("float32")


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_family(name: str) -> None:
    model = lively(name, **{**SMALL, **NETWORKS[name]})
    folded = fold(model)
    assert_same(model, folded)
    assert norms(folded) == REMAINING.get(name, [])
    kept = {layers.Dropout, StochasticDepth} & {type(x) for x in folded.layers}
    assert not kept


@pytest.mark.slow
@pytest.mark.parametrize(
    ("skip", "survival"),
    [*((skip, 1.0) for skip in SKIPS), ("exclusive_gating", 0.5), ("conv1x1", 0.5)],
)
def test_every_shortcut(skip: str, survival: float) -> None:
    model = lively("resnet20_cifar", **TINY, skip=skip, survival=survival)
    assert_same(model, fold(model))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "shortcut"),
    [
        *((order, "B") for order in ORDERS),
        *((order, way) for order in ("original", "full_preactivation") for way in "AC"),
    ],
)
def test_every_order(order: str, shortcut: str) -> None:
    options = {"order": order, "shortcut": shortcut, "survival": 0.5}
    model = lively("resnet20_cifar", **TINY, **options)
    folded = fold(model)
    assert_same(model, folded)
    assert norms(folded) == REMAINING.get(order, [])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["A", "B", "C"])
def test_every_form(form: str) -> None:
    options = {"depths": (1, 1), "cardinality": 4, "form": form}
    model = lively("resnext50_32x4d", **{**SMALL, **options})
    assert_same(model, fold(model))


@pytest.mark.slow
def test_survival_goes_into_the_last_convolution() -> None:
    model = lively("resnet110_sd_cifar", **TINY)
    folded = fold(model)
    assert_same(model, folded)
    assert not [x for x in folded.layers if isinstance(x, layers.Rescaling)]
    assert {x.name for x in model.layers if "add" in x.name} == {
        x.name for x in folded.layers if "add" in x.name
    }
    ends_in_relu = {"order": "relu_before_addition", "survival": 0.5}
    scaled = fold(lively("resnet20_cifar", **TINY, **ends_in_relu))
    assert [x.name for x in scaled.layers if isinstance(x, layers.Rescaling)]


@pytest.mark.slow
def test_recomputed_layers_become_ordinary() -> None:
    options = {**SMALL, **NETWORKS["densenet121"]}
    model = lively("densenet121", **options, memory_efficient=True)
    folded = fold(model)
    assert_same(model, folded)
    assert not [x for x in folded.layers if isinstance(x, Nested)]
    # A norm at the start of a branch is not folded into what stands before the branch.
    assert set(REMAINING["densenet121"]) < set(norms(folded))


@pytest.mark.slow
def test_bfloat16() -> None:
    model = lively("resnet50_v2", **{**SMALL, **NETWORKS["resnet50_v2"]})
    folded = fold(model, "bfloat16")
    types = {w.path.split("/")[0]: w.dtype for w in folded.weights}
    assert types.pop("logits") == "float32"
    assert {t for name, t in types.items() if "norm" not in name} == {"bfloat16"}
    x = images(model)
    expected, found = np.asarray(model(x)), np.asarray(folded(x))
    assert found.dtype == np.float32
    assert 0 < abs(found - expected).max() < 0.05 * abs(expected).max()


def test_only_a_norm_alone_behind_a_linear_convolution_is_folded() -> None:
    image = keras.Input((4, 4, 3), name="image")
    shared = layers.Conv2D(3, 1, name="shared")(image)
    bent = layers.Conv2D(3, 1, activation="relu", name="bent")(image)
    bare = layers.Conv2D(3, 1, use_bias=False, name="bare")(image)
    plain = {"center": False, "scale": False}
    parts = [
        shared,
        layers.BatchNormalization(name="n1")(shared),
        layers.BatchNormalization(name="n2")(bent),
        layers.BatchNormalization(name="n3", **plain)(bare),
    ]
    model = keras.Model(image, layers.Concatenate()(parts))
    for layer in model.layers:
        layer.set_weights([w + 0.3 for w in layer.get_weights()])
    folded = fold(model)
    assert norms(folded) == ["n1", "n2"]
    assert_same(model, folded)
    end = keras.Model(image, layers.Conv2D(3, 1)(image))
    assert_same(end, fold(end))


def test_refusals() -> None:
    image = keras.Input((4, 4, 3), name="image")
    relu = layers.ReLU(name="relu")
    model = keras.Model(image, relu(relu(image)))
    with pytest.raises(UsageError, match="got relu called 2 times"):
        fold(model)
    with pytest.raises(UsageError, match="dtype must be one of float32, bfloat16"):
        fold(model, "float16")
