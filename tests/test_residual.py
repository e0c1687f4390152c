"""The residual unit re-derived in NumPy, for every order, shortcut and shape."""

from collections.abc import Callable

import keras
import numpy as np
import pytest

from keras_resnet.errors import UsageError
from keras_resnet.ops import BN_EPSILON
from keras_resnet.residual import ORDERS, SHORTCUTS, Conv, residual

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
CHANNELS = 8
BRANCHES = {  # by unit, and by whether the shape changes
    ("basic", False): (Conv(8, 3), Conv(8, 3)),
    ("basic", True): (Conv(12, 3, 2), Conv(12, 3)),
    ("bottleneck", False): (Conv(2, 1), Conv(2, 3), Conv(8, 1)),
    ("bottleneck", True): (Conv(3, 1), Conv(3, 3, 2), Conv(12, 1)),
    ("bottleneck_1x1", True): (Conv(3, 1, 2), Conv(3, 3), Conv(12, 1)),
}


def unit(
    order: str, shortcut: str, branch: tuple[Conv, ...], channels: int = CHANNELS
) -> keras.Model:
    x = keras.Input((5, 6, channels))
    y = residual(x, branch, order=ORDERS[order], shortcut=shortcut, name="unit")
    return keras.Model(x, y)


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
    x: np.ndarray,
    activated: np.ndarray,
    weights: Weights,
    branch: tuple[Conv, ...],
    shortcut: str,
) -> np.ndarray:
    """Option A, B or C; what changes shape starts from the activated features."""
    stride, filters = max(c.stride for c in branch), branch[-1].filters
    changes = filters != x.shape[-1] or stride > 1
    source = activated if changes else x
    if shortcut == "C" or (shortcut == "B" and changes):
        h = convolve(source, weights["unit_shortcut"][0], stride)
        norm = weights.get("unit_shortcut_norm")
        return h if norm is None else normalise(h, norm)
    new = filters - x.shape[-1]
    return np.pad(source[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (0, new)))


def expected_unit(
    x: np.ndarray, weights: Weights, branch: tuple[Conv, ...], order: str, shortcut: str
) -> np.ndarray:
    steps = way(order, branch)
    y, activated, conv = x, None, 0
    for position, step in enumerate(steps):
        if step == "W":
            activated = y if activated is None else activated
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
        else:
            assert activated is not None
            y = y + expected_shortcut(x, activated, weights, branch, shortcut)
    return y


@pytest.mark.parametrize("shape", BRANCHES, ids=str)
@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("order", FIGURE_4)
def test_unit_equals_numpy(
    order: str,
    shortcut: str,
    shape: tuple[str, bool],
    enliven: Callable[[keras.Model], keras.Model],
) -> None:
    branch = BRANCHES[shape]
    model = enliven(unit(order, shortcut, branch))
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    x = np.random.default_rng(1).normal(size=(2, 5, 6, CHANNELS)).astype("float32")
    expected = expected_unit(x, weights, branch, order, shortcut)
    y = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert model.output_shape[1:] == expected.shape[1:]
    # A projection is normalised where the branch ends in a normalisation.
    ends_in_norm = "N" in "".join(way(order, branch)).rpartition("W")[2].split("+")[0]
    projected = "unit_shortcut" in weights and bool(weights["unit_shortcut"])
    assert ("unit_shortcut_norm" in weights) == (projected and ends_in_norm)


def test_every_published_order_is_tested() -> None:
    assert set(FIGURE_4) == set(ORDERS)


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
