"""Copies weights between networks of this library by layer name."""

import re

import keras
import numpy as np

from keras_resnet.weights.assign import assign, weights_of
from keras_resnet.weights.function import function_of

PATH = re.compile(r"(.+)_path(\d+)_(.+)")
LAST = "conv3/kernel"  # the last one of a bottleneck's path; its outputs are added


def transfer(source: keras.Model, target: keras.Model) -> None:
    """Copies all weights of ``source`` to the layers of ``target`` of the same names.

    Between the forms A, B and C of a ResNeXt, path weights are joined or split; outputs
    are the same afterwards. If only the number of classes differs, the target keeps its
    head and a warning says so. If ``survival`` differs, branches are rescaled, so that
    outputs are the same. All other settings of the computation (order, skip, shortcut,
    strides) must agree, except for dropout rates.

    Reference: Xie et al., "Aggregated Residual Transformations", 2017, fig. 3.

    Raises:
        UsageError: The names, the shapes or the functions differ.
    """
    values = {n: np.array(v) for n, v in weights_of(source).items()}
    assign(target, laid_out(values, target), source.name, function_of(source))


def laid_out(
    values: dict[str, np.ndarray], target: keras.Model
) -> dict[str, np.ndarray]:
    """Converts the weights of a ResNeXt of form A, B or C to the target's form."""
    return _parted(_joined(values), list(weights_of(target)))


def _joined(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Joins the arrays of all paths into those of form C."""
    paths: dict[str, dict[int, np.ndarray]] = {}
    for name, value in values.items():
        match = PATH.fullmatch(name)
        whole, path = (f"{match[1]}_{match[3]}", int(match[2])) if match else (name, 0)
        paths.setdefault(whole, {})[path] = value
    joined = {}
    for name, parts in paths.items():
        arrays = [parts[path] for path in sorted(parts)]  # files order them otherwise
        joined[name] = np.concatenate(arrays, _axis(name)) if arrays[1:] else arrays[0]
    return joined


def _parted(values: dict[str, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
    """Splits arrays of form C into those of the paths in ``names``."""
    paths: dict[str, list[str]] = {}
    for name in names:
        match = PATH.fullmatch(name)
        if match:
            paths.setdefault(f"{match[1]}_{match[3]}", []).append(name)
    parted: dict[str, np.ndarray] = {}
    for name, value in values.items():
        ours = paths.get(name, [name])
        if value.shape[_axis(name)] % len(ours):  # assign reports the mismatch
            ours = [name]
        parts = np.split(value, len(ours), _axis(name)) if len(ours) > 1 else [value]
        parted |= dict(zip(ours, parts, strict=True))
    return parted


def _axis(name: str) -> int:
    """Returns the axis of the paths: outputs, or inputs of the last convolution."""
    return -2 if name.endswith(LAST) else -1
