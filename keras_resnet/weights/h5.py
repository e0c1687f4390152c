"""Reads weights from Keras' HDF5 files as named arrays, without creating layers."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.weights.function import Described, Function, described, function_in

NORM = ("gamma", "beta", "moving_mean", "moving_variance")
OTHER = ("kernel", "bias")
FIRST = {"W_1": "kernel", "b_1": "bias"}  # in VGG files written by Keras 1


@dataclass(frozen=True)
class Stored:
    """The contents of a weight file.

    Attributes:
        values: Arrays by layer and variable, ``stage1_block1_conv1/kernel``.
        function: The function of the network.
        settings: Whether ``function`` includes the settings of its layers.
    """

    values: dict[str, np.ndarray]
    function: Function
    settings: bool


def read_h5(path: Path) -> Stored:
    """Reads a file of ``model.save_weights``, or of ``model.save`` in the old format.

    The function runs no code from the file.

    Raises:
        OSError, KeyError, ValueError: It is not such a file.
    """
    import h5py

    with h5py.File(path) as file:
        if "layers" in file:
            return Stored(*_weights_file(file["layers"]), settings=False)
        values = {
            _legacy_name(name): item[()]
            for name, item in _items(file.get("model_weights", file))
            if isinstance(item, h5py.Dataset)
        }
        config = file.attrs.get("model_config")
        function = function_in(json.loads(config)) if config else {}
    return Stored(values, function, settings=bool(config))


def _weights_file(group: Any) -> tuple[dict[str, np.ndarray], Function]:
    """Reads Keras 3's format, ``conv2d_3/vars/0`` with layer names as attributes."""
    values: dict[str, np.ndarray] = {}
    layers: list[Described] = []
    for path, item in _items(group):
        owner, _, number = path.rpartition("/")
        if not owner.endswith("vars") and number != "vars":
            continue
        if number == "vars":
            kind = re.sub(r"_\d+$", "", owner.rpartition("/")[2])
            layers.append((item.attrs["name"], kind, {}))
        elif "seed_generator" not in owner:
            variables = group[owner]
            kinds = NORM if len(variables) == len(NORM) else OTHER
            name = f"{variables.attrs['name']}/{kinds[int(number)]}"
            values[name] = item[()]
    return values, described(layers)


def _legacy_name(path: str) -> str:
    """Converts ``LAYER/LAYER/kernel:0``, which repeats the name, to ``LAYER/kernel``.

    The name of an enclosing layer may precede the layer's name. Keras 2 uses slashes in
    the names of DenseNet's layers where Keras 3 uses underscores.
    """
    *parts, variable = path.removesuffix(":0").split("/")
    layer = "_".join(parts[len(parts) // 2 :])
    variable = variable.removeprefix(f"{layer}_")
    return f"{layer}/{FIRST.get(variable, variable)}"


def _items(group: Any) -> Iterator[tuple[str, Any]]:
    """Yields all items in the file; raises ValueError for links to other files."""
    found: list[tuple[str, Any]] = []
    group.visititems(lambda name, item: found.append((name, item)))
    for name, item in found:
        if getattr(item, "external", None) or getattr(item, "is_virtual", False):
            raise ValueError(f"{name} must be stored in the file itself")
        yield name, item
