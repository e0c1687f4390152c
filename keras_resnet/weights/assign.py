"""Named arrays into a network: compared first, then assigned."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from keras_resnet.errors import UsageError
from keras_resnet.layers import Nested, leaf_layers

HEAD = ("logits/kernel", "logits/bias")
SHOWN = 3  # names of each kind in an error message


def weights_of(model: keras.Model) -> dict[str, Any]:
    """Returns a network's variables by name, ``stage1_block1_conv1/kernel``."""
    return {
        f"{layer.name}/{variable.name}": variable
        for layer in leaf_layers(model)
        if not isinstance(layer, Nested)
        for variable in layer.weights
    }


def assign(model: keras.Model, values: Mapping[str, np.ndarray], source: str) -> None:
    """Sets all weights of ``model``, or none.

    Where nothing but the number of classes differs, or ``values`` has no head, the head
    stays as it is and a warning says so.

    Args:
        model: A network of this library.
        values: Arrays by the names of ``weights_of``.
        source: Where they come from, for messages.

    Raises:
        UsageError: Names or shapes differ.
    """
    variables = weights_of(model)
    values = dict(values)
    fresh = _other_head(variables, values)
    if fresh or HEAD[0] not in variables:
        values = {name: v for name, v in values.items() if name not in HEAD}
        variables = {name: v for name, v in variables.items() if name not in HEAD}
    require_same(
        {name: tuple(v.shape) for name, v in variables.items()},
        {name: tuple(v.shape) for name, v in values.items()},
        f"weights of {source} must fit {model.name}",
    )
    for name, variable in variables.items():
        variable.assign(values[name])
    if fresh:
        warnings.warn(
            f"{source} has no head for {model.output_shape[-1]} classes: that of "
            f"{model.name} stays as initialised",
            stacklevel=3,
        )


def require_same(
    wanted: Mapping[str, tuple[int, ...]],
    given: Mapping[str, tuple[int, ...]],
    rule: str,
) -> None:
    """Raises UsageError with a short diff unless names and shapes are the same."""
    missing = [f"{name} {wanted[name]}" for name in wanted if name not in given]
    unknown = [f"{name} {given[name]}" for name in given if name not in wanted]
    others = [
        f"{name} {given[name]} for {shape}"
        for name, shape in wanted.items()
        if name in given and given[name] != shape
    ]
    parts = [
        f"{len(names)} {what} ({_some(names)})"
        for what, names in (
            ("missing", missing),
            ("unknown", unknown),
            ("of another shape", others),
        )
        if names
    ]
    if parts:
        raise UsageError(f"{rule}, got {', '.join(parts)}")


def _other_head(variables: Mapping[str, Any], values: Mapping[str, np.ndarray]) -> bool:
    """Whether the network has a head and ``values`` none of its size."""
    kernel = variables.get(HEAD[0])
    if kernel is None:
        return False
    given = values.get(HEAD[0])
    # With other features below it, the head is one mismatch among many.
    return given is None or (
        given.shape[0] == kernel.shape[0] and given.shape[1] != kernel.shape[1]
    )


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
