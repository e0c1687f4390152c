"""Compares named arrays with a network and assigns them to it."""

import re
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_resnet.errors import UsageError
from keras_resnet.layers import Nested, leaf_layers
from keras_resnet.weights.function import Function, function_of, survival_ratios

HEAD = ("logits/kernel", "logits/bias")
# The hidden layers of VGG and AlexNet, which files without a head also lack.
HIDDEN = tuple(f"fc{i}/{kind}" for i in (1, 2, 6, 7) for kind in ("kernel", "bias"))
SHOWN = 2  # names of each kind in an error message


def weights_of(model: keras.Model) -> dict[str, Any]:
    """Returns a network's variables by name, ``stage1_block1_conv1/kernel``."""
    return {
        f"{layer.name}/{variable.name}": variable
        for layer in leaf_layers(model)
        if not isinstance(layer, Nested)
        for variable in layer.weights
    }


def assign(
    model: keras.Model,
    values: Mapping[str, np.ndarray],
    source: str,
    function: Function,
    *,
    settings: bool = True,
) -> None:
    """Sets all weights of ``model``, or none.

    If only the number of classes differs, or ``values`` has no head, the head does not
    change and a warning says so. If the survival probabilities of branches differ, the
    last weights of the branches are rescaled, so that outputs are the same.

    Args:
        model: A network of this library.
        values: Arrays by the names of ``weights_of``.
        source: The origin of the values, for messages.
        function: The function of the network that the values come from.
        settings: Whether ``function`` includes the settings of its layers.

    Raises:
        UsageError: The names, the shapes or the functions differ.
    """
    variables = weights_of(model)
    fresh = _fresh_head(variables, values)
    ignored = {*fresh, *(name for name in HEAD if name not in variables)}
    values = {name: v for name, v in values.items() if name not in ignored}
    variables = {name: v for name, v in variables.items() if name not in ignored}
    _require_same(
        {name: tuple(v.shape) for name, v in variables.items()},
        {name: tuple(v.shape) for name, v in values.items()},
        f"weights of {source} must fit {model.name}",
        "of a different shape",
    )
    ratios = survival_ratios(function_of(model), function)
    _require_same_function(model, function, source, settings, set(ratios))
    values = _rescaled(values, ratios)
    for name, variable in variables.items():
        variable.assign(values[name])
    if fresh:
        warnings.warn(_without_head(model, source, fresh), stacklevel=3)


def _require_same_function(
    model: keras.Model, function: Function, source: str, settings: bool, but: set[str]
) -> None:
    """Raises UsageError unless the functions agree, ``but`` for units' survival."""
    alike = {f"{unit}_add": "add" for unit in but}
    _require_same(
        function_of(model, settings=settings) | alike,
        {**function, **alike},
        f"{source} must come from a network that computes what {model.name} does",
        "of a different kind",
        "; create the network with the spec that the weights were trained with",
    )


def _without_head(model: keras.Model, source: str, fresh: list[str]) -> str:
    head = f"head for {model.output_shape[-1]} classes"
    layers = ", ".join(dict.fromkeys(name.partition("/")[0] for name in fresh))
    return (
        f"{source} has no {head if HEAD[0] in fresh else 'hidden layers'}: "
        f"{model.name} keeps the initial weights of {layers}"
    )


def _rescaled(
    values: dict[str, np.ndarray], ratios: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Multiplies the output of each unit's branch by its ratio.

    The last weights of a branch belong to a normalisation or, if the order has none
    there, to the last convolution.
    """
    for unit, ratio in ratios.items():
        kernel = re.compile(rf"{unit}_(?:path\d+_)?conv(\d+)/kernel")
        found = [(match, name) for name in values if (match := kernel.fullmatch(name))]
        end = max(int(match[1]) for match, _ in found)
        last = [f"{unit}_norm{end}/{kind}" for kind in ("gamma", "beta")]
        if last[0] not in values:
            last = [name for match, name in found if int(match[1]) == end]
        values = values | {name: values[name] * ratio for name in last}
    return values


def _require_same(
    wanted: Mapping[str, object],
    given: Mapping[str, object],
    rule: str,
    differs: str,
    fix: str = "",
) -> None:
    """Raises UsageError with a short diff unless the mappings are the same.

    The message starts with ``rule`` and ends with ``fix``; ``differs`` describes a
    value that differs.
    """
    found = {
        "missing": [f"{name} {wanted[name]}" for name in wanted if name not in given],
        "unknown": [f"{name} {given[name]}" for name in given if name not in wanted],
        differs: [
            f"{name} {given[name]} for {value}"
            for name, value in wanted.items()
            if name in given and given[name] != value
        ],
    }
    parts = [f"{len(n)} {what} ({_some(n)})" for what, n in found.items() if n]
    if parts:
        raise UsageError(f"{rule}, got {', '.join(parts)}{fix}")


def _fresh_head(
    variables: Mapping[str, Any], values: Mapping[str, np.ndarray]
) -> list[str]:
    """Returns the head's weights that ``values`` lack or have for other classes."""
    hidden = [name for name in HIDDEN if name in variables]
    if any(name in values for name in (*hidden, *HEAD)):
        hidden = []  # a partly missing head is an ordinary mismatch
    kernel, given = variables.get(HEAD[0]), values.get(HEAD[0])
    # A head for another number of features is an ordinary mismatch.
    fits = given is not None and (
        kernel is None
        or given.shape[0] != kernel.shape[0]
        or given.shape == kernel.shape
    )
    return [*hidden, *(HEAD if kernel is not None and not fits else ())]


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
