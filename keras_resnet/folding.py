"""Folds batch norms and stochastic depth into convolutions, for faster inference.

In inference, a batch norm scales and shifts each channel, and stochastic depth
multiplies its branch by p. After a convolution, both can be part of its kernel and
bias: ``a·(W∗x + c) + b = (a·W)∗x + (a·c + b)``.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers

from keras_resnet.errors import UsageError, require_choice
from keras_resnet.layer_names import HEAD
from keras_resnet.layers import GroupedConv2D, Recomputed, StochasticDepth
from keras_resnet.network import Network, deep_recursion, quick_variables

DTYPES = ("float32", "bfloat16")
CONVOLUTIONS = (layers.Conv2D, GroupedConv2D)
Node = tuple[str, list[Any]]  # a layer's name and call arguments


def fold(model: keras.Model, dtype: str = "float32") -> keras.Model:
    """Returns a network of the same function for inference.

    Every batch norm that is the only successor of a linear convolution is folded into
    it, also inside branches of stochastic depth. These become ordinary layers, with p
    in their last convolution if they end in one. Dropout is removed, and a grouped
    convolution is one operation. Everything else keeps its form, including batch norms
    before a convolution in pre-activation units and DenseNets. Layers keep their names.

    Args:
        model: A network of this library.
        dtype: The dtype of weights and features, one of ``DTYPES``; logits are float32.

    Raises:
        UsageError: The dtype is unsupported, or a layer is called more than once.
    """
    require_choice("dtype", dtype, DTYPES)
    with deep_recursion(), quick_variables():
        given = model.input  # Keras' own default is its floatx
        image = keras.Input(given.shape[1:], dtype=given.dtype, name=given.name)
        output = _replayed(model, [image], dtype)
        return Network(image, output, name=model.name)


def _replayed(
    model: keras.Model, inputs: list[KerasTensor], dtype: str, scale: float = 1.0
) -> KerasTensor:
    """Calls a model's layers on ``inputs``; returns the output times ``scale``."""
    config = model.get_config()
    nodes = list(_nodes(config))
    end = _names(config["output_layers"])[0]
    norms = _norms(model, nodes, end)
    tensors = dict(zip(_names(config["input_layers"]), inputs, strict=True))
    for name, arguments in nodes:
        layer, x = model.get_layer(name), _filled(arguments, tensors)
        if name in norms.values() or isinstance(layer, layers.Dropout):
            (tensors[name],) = x
        elif isinstance(layer, StochasticDepth):
            h, *within = x[0]
            y = _replayed(layer.branch, within, dtype, layer.survival)
            tensors[name] = layers.Add(name=name, dtype=dtype)([h, y])
        elif isinstance(layer, Recomputed):
            tensors[name] = _replayed(layer.branch, keras.tree.flatten(x), dtype)
        elif type(layer) in CONVOLUTIONS:
            norm = model.get_layer(norms[name]) if name in norms else None
            last = norms.get(name, name) == end
            weights = _folded(layer, norm, scale if last else 1.0)
            tensors[name] = _called(layer, x, dtype, weights)
        else:
            tensors[name] = _called(layer, x, dtype, layer.get_weights())
    if (
        scale == 1
        or end in norms.values()
        or type(model.get_layer(end)) in CONVOLUTIONS
    ):
        return tensors[end]
    return layers.Rescaling(scale, name=f"{end}_survival", dtype=dtype)(tensors[end])


def _called(
    layer: layers.Layer, x: list[Any], dtype: str, weights: list[np.ndarray]
) -> KerasTensor:
    """Returns the output of a copy of the layer that computes in ``dtype``."""
    if dtype == "bfloat16" and isinstance(layer, layers.BatchNormalization):
        dtype = "mixed_bfloat16"  # its kernel requires float32 statistics
    config = {**layer.get_config(), "dtype": "float32" if _is_head(layer) else dtype}
    if type(layer) in CONVOLUTIONS:
        config["use_bias"] = len(weights) == 2
    copy = type(layer).from_config(config)
    if isinstance(copy, GroupedConv2D):
        # The zeros of a merged kernel would be stored.
        copy.path = "native"
    y = copy(*x)
    copy.set_weights(weights)
    return y


def _is_head(layer: layers.Layer) -> bool:
    return layer.name == HEAD


def _folded(
    conv: layers.Conv2D, norm: layers.BatchNormalization | None, scale: float
) -> list[np.ndarray]:
    """Returns the kernel and bias of the convolution, the norm and the factor."""
    weights = [np.asarray(w, np.float64) for w in conv.get_weights()]
    if norm is not None:
        bias = weights[1] if conv.use_bias else 0.0
        a, b = _affine(norm)
        weights = [weights[0] * a, bias * a + b]
    return [(scale * w).astype(np.float32) for w in weights]


def _affine(norm: layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """Returns a and b of ``a·x + b``, the norm's function in inference."""
    values = {w.name: np.asarray(w, np.float64) for w in norm.weights}
    deviation = np.sqrt(values["moving_variance"] + norm.epsilon)
    a = values.get("gamma", 1.0) / deviation
    return a, values.get("beta", 0.0) - values["moving_mean"] * a


def _norms(model: keras.Model, nodes: list[Node], end: str) -> dict[str, str]:
    """Maps convolutions to the norm that is their only successor, by name."""
    followers: dict[str, list[str]] = {end: [""]}
    for name, arguments in nodes:
        for before in _sources(arguments):
            followers.setdefault(before, []).append(name)
    alone = {name: f[0] for name, f in followers.items() if len(f) == 1 and f[0]}
    return {
        name: follower
        for name, follower in alone.items()
        if type(model.get_layer(name)) in CONVOLUTIONS
        and model.get_layer(name).activation is keras.activations.linear
        and isinstance(model.get_layer(follower), layers.BatchNormalization)
    }


def _nodes(config: dict[str, Any]) -> Iterator[Node]:
    """Yields the layers of a functional model's config in topological order."""
    for layer in config["layers"]:
        calls = layer["inbound_nodes"]
        if len(calls) > 1:
            raise UsageError(
                f"layers must be called once to be folded, got {layer['name']} called "
                f"{len(calls)} times"
            )
        if calls:
            yield layer["name"], calls[0]["args"]


def _names(history: list[Any]) -> list[str]:
    """Returns the layers of one ``[name, node, output]``, or of a list of them."""
    return [item for item in keras.tree.flatten(history) if isinstance(item, str)]


def _sources(argument: Any) -> list[str]:
    """Returns the layers whose outputs an argument in a config refers to."""
    if isinstance(argument, dict):
        return [argument["config"]["keras_history"][0]]
    return [name for item in argument for name in _sources(item)]


def _filled(argument: Any, tensors: dict[str, KerasTensor]) -> Any:
    """Replaces the references to layer outputs in an argument by tensors."""
    if isinstance(argument, dict):
        return tensors[_sources(argument)[0]]
    return [_filled(item, tensors) for item in argument]
