"""Builds a network with a gate on the shortcut and on the branch of every unit.

Deleting a unit does not change the graph: it sets d in x' = f(h(x) + d·F(x)). One
function, compiled once, therefore evaluates every subset of units. Gates that act only
on gradients select paths of the backward pass.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from keras_resnet.errors import UsageError
from keras_resnet.layer_names import unit_of
from keras_resnet.layers import Nested, StochasticDepth, leaf_layers
from keras_resnet.network import deep_recursion

Batch = tuple[np.ndarray, np.ndarray]  # normalised images (N, H, W, C), labels (N,)
Progress = Callable[[Iterable[Any]], Iterable[Any]]  # e.g. tqdm.tqdm


class GateValues:
    """The gates of one position in every unit, for values and for gradients.

    Args:
        usual: The values of the original network, ``(units,)``.
    """

    def __init__(self, usual: np.ndarray) -> None:
        self.usual = usual.astype("float32")
        self.forward = keras.Variable(self.usual, trainable=False)
        self.backward = keras.Variable(self.usual, trainable=False)

    def set(self, forward: np.ndarray, backward: np.ndarray | None = None) -> None:
        """Sets the gates; without ``backward``, the same gates apply to gradients."""
        self.forward.assign(forward)
        self.backward.assign(forward if backward is None else backward)


class Gate(layers.Layer):
    """Multiplies values by one gate and gradients by another.

    Args:
        values: The gates of all units.
        index: Index of the unit in the gates.
        **kwargs: Arguments of ``keras.layers.Layer``.
    """

    def __init__(self, values: GateValues, index: int, **kwargs: str) -> None:
        super().__init__(**kwargs)
        # Attributes of the layer are part of the model's state.
        self.forward, self.backward = values.forward, values.backward
        self.index = index

    def call(self, x: KerasTensor) -> KerasTensor:
        """Maps any x to ``forward·x`` with gradient ``backward``."""
        forward = ops.cast(self.forward[self.index], x.dtype)
        backward = ops.cast(self.backward[self.index], x.dtype)
        return ops.stop_gradient((forward - backward) * x) + backward * x


@dataclass(frozen=True)
class _Place:
    """A unit with gates at ``index``; ``last`` is its last layer in a plain network."""

    index: int
    residual: bool
    last: str


class GatedNetwork:
    """A network's layers on a graph with gates; it shares the network's weights.

    In a residual unit the gates precede the addition, so that deletion leaves f(h(x)),
    including projections, as in Veit et al. The usual value of a branch's gate is its
    survival probability. In a unit that multiplies its branch by a transform gate
    (Highway, exclusive gating), deletion closes that gate and the unit copies its input
    (Srivastava et al., 2015, section 4.2). In a network of one path, a unit or layer is
    replaced by its input if the shapes allow it.

    Args:
        model: A network with residual units, or a plain or VGG network.

    Attributes:
        model: The gated graph, ``(N, H, W, C)`` → logits.
        units: Names of the units that can be deleted.
        kept: Units of a one-path network that change the shape and cannot be deleted.
        residual: Whether each of ``units`` has its own shortcut, ``(units,)``.

    Raises:
        UsageError: The network has no such units.
    """

    def __init__(self, model: keras.Model) -> None:
        self._places, self.kept = _find(model)
        self.units = tuple(self._places)
        if not self.units:
            raise UsageError(
                "the network must have residual units, or be a plain or VGG one, got "
                f"{model.name}, whose layers do not form units"
            )
        self.residual = np.array([p.residual for p in self._places.values()])
        self._gates = {
            "shortcut": GateValues(self.residual),
            "branch": GateValues(_survivals(model, self.units)),
            "transform": GateValues(np.ones(len(self.units))),
        }
        self._entries: dict[str, KerasTensor] = {}
        with deep_recursion():
            self.model = keras.models.clone_model(
                model, clone_function=lambda layer: layer, call_function=self._call
            )
        self._weights = {unit: _weights(model, unit) for unit in self.units}

    def reset(self) -> None:
        """Restores the function of the original network."""
        for gates in self._gates.values():
            gates.set(gates.usual)

    def keep(self, kept: np.ndarray) -> None:
        """Deletes all units except those where ``kept``, ``(units,)``, is true."""
        branch, shortcut = self._gates["branch"], self._gates["shortcut"]
        branch.set(np.where(kept, branch.usual, 0))
        shortcut.set(np.where(kept, shortcut.usual, 1))
        self._gates["transform"].set(np.asarray(kept, "float32"))

    def flow(self, branch: np.ndarray, shortcut: np.ndarray) -> None:
        """Restricts gradients, not values, to the given branches and shortcuts."""
        for name, mask in (("branch", branch), ("shortcut", shortcut)):
            gates = self._gates[name]
            gates.set(gates.usual, gates.usual * mask)

    @property
    def exchangeable(self) -> list[list[int]]:
        """Groups of at least two units of one stage with weights of the same shapes."""
        groups: dict[object, list[int]] = {}
        for index, unit in enumerate(self.units):
            shapes = [(name, v.shape) for name, v in self._weights[unit].items()]
            groups.setdefault((unit.split("_")[0], *shapes), []).append(index)
        return [group for group in groups.values() if len(group) > 1]

    def order(self, order: np.ndarray) -> None:
        """Moves unit ``order[i]`` to position i; ``order`` permutes the indices.

        Exchangeable units differ only in weights and survival, so only these move.
        """
        values = {
            unit: [np.array(v) for v in variables.values()]
            for unit, variables in self._weights.items()
        }
        for place, mover in enumerate(order):
            if place != mover:
                variables = self._weights[self.units[place]].values()
                for v, value in zip(variables, values[self.units[mover]], strict=True):
                    v.assign(value)
        branch = self._gates["branch"]
        branch.usual = branch.usual[order]
        branch.set(branch.usual)

    def _call(
        self, layer: keras.layers.Layer, *args: KerasTensor, **kwargs: object
    ) -> KerasTensor:
        unit = unit_of(layer.name)
        place = self._places.get(unit or "")
        if unit is None or place is None:
            return layer(*args, **kwargs)
        self._entries.setdefault(unit, args[0])
        if layer.name == f"{unit}_add":
            h, f, add = _summands(layer, args[0])
            return add([self._gate("shortcut", unit, h), self._gate("branch", unit, f)])
        y = layer(*args, **kwargs)
        if layer.name == f"{unit}_gate_sigmoid":
            return self._gate("transform", unit, y)
        if not place.residual and layer.name == place.last:
            h = self._gate("shortcut", unit, self._entries[unit])
            return layers.Add()([h, self._gate("branch", unit, y)])
        return y

    def _gate(self, gates: str, unit: str, x: KerasTensor) -> KerasTensor:
        index = self._places[unit].index
        name = f"{unit}_{gates}_gate_value"
        return Gate(self._gates[gates], index, dtype=x.dtype, name=name)(x)


def _find(model: keras.Model) -> tuple[dict[str, _Place], tuple[str, ...]]:
    """Returns the units that can be deleted, and the names of the others."""
    units: dict[str, list[keras.layers.Layer]] = {}
    for layer in model.layers:
        if (name := unit_of(layer.name)) is not None:
            units.setdefault(name, []).append(layer)
    places: dict[str, _Place] = {}
    kept = []
    for unit, members in units.items():
        residual = f"{unit}_add" in (layer.name for layer in members)
        entry, last = members[0].input, members[-1]
        if residual or entry.shape == last.output.shape:
            places[unit] = _Place(len(places), residual, last.name)
        else:
            kept.append(unit)
    return places, tuple(kept)


def _summands(
    layer: keras.layers.Layer, inputs: list[KerasTensor]
) -> tuple[KerasTensor, KerasTensor, keras.layers.Layer]:
    """Returns h, F(x) without stochastic depth, and the layer that adds them."""
    h, *x = inputs
    if not isinstance(layer, StochasticDepth):
        return h, x[0], layer
    return h, layer.branch(x[0] if len(x) == 1 else x), layers.Add()


def _survivals(model: keras.Model, units: tuple[str, ...]) -> np.ndarray:
    additions = {x.name: x for x in model.layers if isinstance(x, StochasticDepth)}
    return np.array(
        [getattr(additions.get(f"{unit}_add"), "survival", 1.0) for unit in units]
    )


def _weights(model: keras.Model, unit: str) -> dict[str, keras.Variable]:
    """Returns a unit's weights by name, without the unit's name."""
    return {
        f"{layer.name.removeprefix(unit)}/{variable.name}": variable
        for layer in leaf_layers(model)
        if unit_of(layer.name) == unit and not isinstance(layer, Nested)
        for variable in layer.weights
    }
