"""Weights between networks of this library, by layer name."""

import re

import keras
import numpy as np

from keras_resnet.weights.assign import assign, weights_of
from keras_resnet.weights.function import function_of

PATH = re.compile(r"(.+)_path(\d+)_(.+)")
LAST = "conv3/kernel"  # of a bottleneck's path: the one that outputs are added of


def transfer(source: keras.Model, target: keras.Model) -> None:
    """Copies all weights of ``source`` to the layers of ``target`` of the same names.

    Between the forms A, B and C of a ResNeXt the paths' weights are joined or parted:
    outputs are the same afterwards. Where only the number of classes differs, the
    target keeps its head, with a warning. Where ``survival`` differs, branches are
    rescaled, so that outputs are the same. Everything else that the networks compute
    (order, skip, shortcut, strides) must be the same, except for dropout rates.

    Reference: Xie et al., "Aggregated Residual Transformations", 2017, fig. 3.

    Raises:
        UsageError: Names or shapes differ, or the function.
    """
    values = {n: np.array(v) for n, v in weights_of(source).items()}
    assign(target, laid_out(values, target), source.name, function_of(source))


def laid_out(
    values: dict[str, np.ndarray], target: keras.Model
) -> dict[str, np.ndarray]:
    """Returns the weights of a form A, B or C of a ResNeXt for the target's form."""
    return _parted(_joined(values), list(weights_of(target)))


def _joined(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Form C: one array for those of all paths."""
    paths: dict[str, dict[int, np.ndarray]] = {}
    for name, value in values.items():
        match = PATH.fullmatch(name)
        whole, path = (f"{match[1]}_{match[3]}", int(match[2])) if match else (name, 0)
        paths.setdefault(whole, {})[path] = value
    joined = {}
    for name, parts in paths.items():
        arrays = [parts[path] for path in sorted(parts)]  # files have another order
        joined[name] = np.concatenate(arrays, _axis(name)) if arrays[1:] else arrays[0]
    return joined


def _parted(values: dict[str, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
    """The arrays of form C for paths, where ``names`` has them."""
    paths: dict[str, list[str]] = {}
    for name in names:
        match = PATH.fullmatch(name)
        if match:
            paths.setdefault(f"{match[1]}_{match[3]}", []).append(name)
    parted: dict[str, np.ndarray] = {}
    for name, value in values.items():
        ours = paths.get(name, [name])
        if value.shape[_axis(name)] % len(ours):  # left whole, for the report
            ours = [name]
        parts = np.split(value, len(ours), _axis(name)) if len(ours) > 1 else [value]
        parted |= dict(zip(ours, parts, strict=True))
    return parted


def _axis(name: str) -> int:
    """Paths are parts of the outputs, but of the last convolution's inputs."""
    return -2 if name.endswith(LAST) else -1
