"""The residual unit re-derived in NumPy, for every order, shortcut and shape."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from keras_resnet.catalogue import find_spec
from keras_resnet.errors import UsageError
from keras_resnet.families.branch import ORDERS
from keras_resnet.families.ops import BN_EPSILON, Conv
from keras_resnet.families.residual import SHORTCUTS, SKIPS, Unit, residual
from keras_resnet.layers import leaf_layers

Weights = dict[str, list[np.ndarray]]

# He et al., "Identity Mappings in Deep Residual Networks", 2016, fig. 4, the way along
# the branch of a basic unit: Weights, batch Norm, Relu, + (addition).
FIGURE_4 = {
    "original": "W N R W N + R",
    "bn_after_addition": "W N R W + N R",
    "relu_before_addition": "W N R W N R +",
    "relu_only_preactivation": "R W N R W N +",
    "full_preactivation": "N R W N R W +",
}
# Ibid., table 1: factors of the shortcut and of F, g the gate.
TABLE_1: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "identity": (lambda g: 1, lambda g: 1),
    "constant_scaling": (lambda g: 0.5, lambda g: 0.5),
    "exclusive_gating": (lambda g: 1 - g, lambda g: g),
    "shortcut_only_gating": (lambda g: 1 - g, lambda g: 1),
    "conv1x1": (lambda g: 1, lambda g: 1),
    "dropout": (lambda g: 1, lambda g: 1),  # at inference
}
CHANNELS = 8
BRANCHES = {  # by unit, and by whether the shape changes
    ("basic", False): (Conv(8, 3), Conv(8, 3)),
    ("basic", True): (Conv(12, 3, 2), Conv(12, 3)),
    ("bottleneck", False): (Conv(2, 1), Conv(2, 3), Conv(8, 1)),
    ("bottleneck", True): (Conv(3, 1), Conv(3, 3, 2), Conv(12, 1)),
    ("bottleneck_1x1", True): (Conv(3, 1, 2), Conv(3, 3), Conv(12, 1)),
}

QUICK = (("basic", False), ("basic", True), ("bottleneck", True))


def unit(
    order: str,
    shortcut: str,
    branch: tuple[Conv, ...],
    skip: str = "identity",
    **fields: Any,
) -> keras.Model:
    x = keras.Input((5, 6, CHANNELS))
    row = Unit(branch, ORDERS[order], shortcut=shortcut, skip=SKIPS[skip], **fields)
    return keras.Model(x, residual(x, row, name="unit"))


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Cross-correlation over windows, zeros ``kernel // 2`` deep on every side."""
    side = len(kernel)
    pad = side // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (1, 2))
    return np.einsum("nhwcij,ijcf->nhwf", windows[:, ::stride, ::stride], kernel)


def normalise(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    gamma, beta, mean, variance = weights
    return gamma * (x - mean) / np.sqrt(variance + BN_EPSILON) + beta


def way(order: str, branch: tuple[Conv, ...]) -> list[str]:
    """Figure 4's steps; a bottleneck has its W N R twice."""
    figure = FIGURE_4[order]
    if len(branch) == 3:
        figure = figure.replace("W N R W", "W N R W N R W", 1)
    return figure.split()


def expected_shortcut(
    x: np.ndarray, weights: Weights, branch: tuple[Conv, ...], shortcut: str
) -> np.ndarray:
    """Options A, A_pooled, B, C; "C" is a 1×1 convolution on every shortcut, too."""
    stride, filters = max(c.stride for c in branch), branch[-1].filters
    if shortcut == "C" or (shortcut == "B" and filters != x.shape[-1]):
        h = convolve(x, weights["unit_shortcut"][0], stride)
        norm = weights.get("unit_shortcut_norm")
        return h if norm is None else normalise(h, norm)
    new = filters - x.shape[-1]
    if shortcut == "A_pooled":  # ResidualDrop.lua: SpatialAveragePooling, then Padding
        ends = ((0, 0), *((0, -side % stride) for side in x.shape[1:3]), (0, 0))
        whole = np.pad(x, ends, constant_values=np.nan)
        pixels = [
            whole[:, i::stride, j::stride] for i in range(stride) for j in range(stride)
        ]
        return np.pad(np.nanmean(pixels, 0), ((0, 0), (0, 0), (0, 0), (0, new)))
    return np.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (0, new)))


def expected_gate(
    x: np.ndarray, weights: Weights, branch: tuple[Conv, ...]
) -> np.ndarray | None:
    if "unit_gate" not in weights:
        return None
    kernel, bias = weights["unit_gate"]
    return 1 / (1 + np.exp(-convolve(x, kernel, max(c.stride for c in branch)) - bias))


def expected_unit(
    x: np.ndarray,
    weights: Weights,
    branch: tuple[Conv, ...],
    order: str,
    shortcut: str,
    skip: str = "identity",
) -> np.ndarray:
    of_shortcut, of_branch = TABLE_1[skip]
    option = "C" if skip == "conv1x1" else shortcut
    steps = way(order, branch)
    # Both ways start from the activated features where the number of channels changes.
    widens = branch[-1].filters != x.shape[-1]
    y, start, conv = x, None if widens else x, 0
    for position, step in enumerate(steps):
        if step == "W":
            start = y if start is None else start
            conv += 1
            kernel = weights[f"unit_conv{conv}"][0]
            y = convolve(y, kernel, branch[conv - 1].stride)
        elif step == "N":
            added = "+" in steps[:position]
            place = "" if added else "_pre" if conv == 0 else ""
            number = "" if added or conv == 0 else str(conv)
            y = normalise(y, weights[f"unit{place}_norm{number}"])
        elif step == "R":
            y = np.maximum(y, 0)
        elif shortcut != "none":
            assert start is not None
            h = expected_shortcut(start, weights, branch, option)
            g = expected_gate(start, weights, branch)
            y = of_branch(g) * y + of_shortcut(g) * h
    return y


def weights_of(model: keras.Model) -> Weights:
    return {layer.name: layer.get_weights() for layer in leaf_layers(model)}


def images(count: int = 2) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.normal(size=(count, 5, 6, CHANNELS)).astype("float32")


def close(model: keras.Model, x: np.ndarray, expected: np.ndarray) -> None:
    y = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert model.output_shape[1:] == expected.shape[1:]


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(shape, marks=() if shape in QUICK else pytest.mark.slow)
        for shape in BRANCHES
    ],
    ids=str,
)
@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
@pytest.mark.parametrize("order", FIGURE_4)
def test_unit_equals_numpy(
    order: str,
    shortcut: str,
    shape: tuple[str, bool],
    enliven: Callable[[keras.Model], keras.Model],
) -> None:
    branch = BRANCHES[shape]
    model = enliven(unit(order, shortcut, branch))
    weights = weights_of(model)
    close(model, x := images(), expected_unit(x, weights, branch, order, shortcut))
    # A projection is normalised where the branch ends in a normalisation.
    ends_in_norm = "N" in "".join(way(order, branch)).rpartition("W")[2].split("+")[0]
    projected = "unit_shortcut" in weights and bool(weights["unit_shortcut"])
    assert ("unit_shortcut_norm" in weights) == (projected and ends_in_norm)


@pytest.mark.parametrize("changes", [False, True], ids=["same", "changes"])
@pytest.mark.parametrize("skip", TABLE_1)
@pytest.mark.parametrize("order", FIGURE_4)
def test_every_kind_of_shortcut_equals_numpy(
    order: str, skip: str, changes: bool, enliven: Callable[[keras.Model], keras.Model]
) -> None:
    branch = BRANCHES["basic", changes]
    model = enliven(unit(order, "A", branch, skip))
    if "gating" in skip:  # the initial bias makes a gate next to invisible
        assert model.get_layer("unit_gate").bias.numpy() == pytest.approx(-6.0)
        model.get_layer("unit_gate").bias.assign(np.linspace(-1, 1, branch[-1].filters))
    x = images()
    close(model, x, expected_unit(x, weights_of(model), branch, order, "A", skip))


def test_dropout_of_the_shortcut_is_for_training() -> None:
    model = unit("full_preactivation", "A", BRANCHES["basic", False], "dropout")
    model.get_layer("unit_conv2").kernel.assign(np.zeros((3, 3, 8, 8)))
    x = images() + 10
    y = keras.ops.convert_to_numpy(model(x, training=True))
    dropped = y == 0
    np.testing.assert_allclose(y[~dropped], 2 * x[~dropped], rtol=1e-5)
    assert 0.3 < dropped.mean() < 0.7


def test_size_may_change_alone(enliven: Callable[[keras.Model], keras.Model]) -> None:
    branch = (Conv(8, 3), Conv(8, 3, 2))
    model = enliven(unit("full_preactivation", "B", branch))
    x = images()
    expected = expected_unit(x, weights_of(model), branch, "full_preactivation", "B")
    close(model, x, expected)
    assert not model.get_layer("unit_shortcut").weights


@pytest.mark.parametrize("order", FIGURE_4)
def test_unit_of_a_plain_network_has_no_shortcut(
    order: str, enliven: Callable[[keras.Model], keras.Model]
) -> None:
    branch = BRANCHES["basic", True]
    model = enliven(unit(order, "none", branch))
    x = images()
    close(model, x, expected_unit(x, weights_of(model), branch, order, "none"))
    assert not {"unit_add", "unit_shortcut"} & {x.name for x in model.layers}


def test_every_published_row_is_tested() -> None:
    assert set(FIGURE_4) == set(ORDERS)
    assert set(TABLE_1) == set(SKIPS)
    assert set(SHORTCUTS) == {"A", "A_pooled", "B", "C", "none"}


CHANGING = BRANCHES["bottleneck", True]
NAMES = {  # order, shortcut, branch -> layers in the order of the graph
    ("original", "B", CHANGING): (
        "conv1 norm1 relu1 conv2_pad conv2 norm2 relu2 conv3 norm3 "
        "shortcut shortcut_norm add relu"
    ),
    ("original", "A", BRANCHES["basic", True]): (
        "conv1_pad conv1 norm1 relu1 conv2 norm2 shortcut add relu"
    ),
    ("original", "B", BRANCHES["basic", False]): (
        "conv1 norm1 relu1 conv2 norm2 add relu"
    ),
    ("original", "C", BRANCHES["basic", False]): (
        "conv1 norm1 relu1 conv2 norm2 shortcut shortcut_norm add relu"
    ),
    ("bn_after_addition", "B", CHANGING): (
        "conv1 norm1 relu1 conv2_pad conv2 norm2 relu2 conv3 shortcut add norm relu"
    ),
    ("relu_before_addition", "B", CHANGING): (
        "conv1 norm1 relu1 conv2_pad conv2 norm2 relu2 conv3 norm3 relu3 "
        "shortcut shortcut_norm add"
    ),
    ("relu_only_preactivation", "B", CHANGING): (
        "pre_relu conv1 norm1 relu1 conv2_pad conv2 norm2 relu2 conv3 norm3 "
        "shortcut shortcut_norm add"
    ),
    ("full_preactivation", "B", CHANGING): (
        "pre_norm pre_relu conv1 norm1 relu1 conv2_pad conv2 norm2 relu2 conv3 "
        "shortcut add"
    ),
}


@pytest.mark.parametrize(("order", "shortcut", "branch"), NAMES)
def test_layer_names(order: str, shortcut: str, branch: tuple[Conv, ...]) -> None:
    layers = [layer.name for layer in unit(order, shortcut, branch).layers[1:]]
    names = NAMES[order, shortcut, branch].split()
    assert sorted(layers) == sorted(f"unit_{name}" for name in names)


def test_option_a_drops_no_channels() -> None:
    with pytest.raises(
        UsageError, match=r"'A' can only add channels, got 8 → 4 in unit"
    ):
        unit("original", "A", (Conv(4, 3), Conv(4, 3)))


@pytest.mark.parametrize("shape", [shape for shape in BRANCHES if shape[1]], ids=str)
def test_a_pooled_shortcut_equals_numpy(
    shape: tuple[str, bool], enliven: Callable[[keras.Model], keras.Model]
) -> None:
    """Of an odd height, too, where the last window is half an image row."""
    branch, order = BRANCHES[shape], "original"
    model = enliven(unit(order, "A_pooled", branch))
    weights, x = weights_of(model), images()
    close(model, x, expected_unit(x, weights, branch, order, "A_pooled"))


def test_the_network_of_1202_layers_pools_its_shortcuts() -> None:
    """ResidualDrop.lua: nn.SpatialAveragePooling(2, 2, 2, 2) where the size changes."""
    image = keras.Input((8, 8, 3))
    features = find_spec("resnet1202_sd_cifar", depths=(1, 1)).features(image)
    pool = keras.Model(image, features).get_layer("stage2_block1_shortcut_pool")
    assert isinstance(pool, keras.layers.AveragePooling2D)
    assert (pool.pool_size, pool.strides) == ((2, 2), (2, 2))
