"""What the networks of a sweep cost, and networks that cost the same."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import keras

from keras_resnet.describe import count_macs, count_params
from keras_resnet.errors import UsageError
from keras_resnet.models import create_model, find_spec
from training.recipe import literal

WIDEST = 2**14
OWN = "self"  # the recipe's own network, as one to be matched


@dataclass(frozen=True)
class Cost:
    """Of a network.

    Attributes:
        params: Trainable parameters.
        macs: Multiply-accumulates of an image.
    """

    params: int
    macs: int


@lru_cache(maxsize=4096)
def network_cost(
    model: str,
    spec: tuple[tuple[str, Any], ...],
    shape: tuple[int, int, int],
    classes: int,
) -> Cost:
    """What a network costs, which is built for it.

    Args:
        model: Its name.
        spec: The fields of its spec that differ, with their values.
        shape: Of an image, ``(H, W, C)``.
        classes: How many.
    """
    network = create_model(model, input_shape=shape, classes=classes, **dict(spec))
    cost = Cost(count_params(network), count_macs(network))
    del network
    # Keras' global state would keep it: about 4 MB for each that was asked about.
    keras.backend.clear_session(free_memory=False)
    return cost


@dataclass(frozen=True)
class Budget:
    """What the networks of a sweep may cost, or must.

    Attributes:
        max_params: Most parameters; None: any number.
        max_macs: Most multiply-accumulates; None: any number.
        match: What must be the same, ``"params"`` or ``"macs"``, and the network whose
            it is: a name, or ``"self"`` for the recipe's own (with points, for the
            first); ``"2*self"`` for twice that. None: nothing.
    """

    max_params: int | None = None
    max_macs: int | None = None
    match: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        for name in ("max_params", "max_macs"):
            most = getattr(self, name)
            if most is not None and most < 1:
                raise UsageError(f"{name} must be at least 1, got {most}")
        if self.match is None:
            return
        kind, network = self.match
        if kind not in ("params", "macs"):
            raise UsageError(f"match must begin with params or macs, got {kind!r}")
        factor, times, name = network.rpartition("*")
        if times and not _is_positive(factor):
            raise UsageError(
                "match must be of FACTOR*NETWORK with a factor above 0, got "
                f"{network!r}"
            )
        if name != OWN:
            find_spec(name)

    def __str__(self) -> str:
        """The bounds that are set."""
        bounds = {"max_params": self.max_params, "max_macs": self.max_macs}
        known = [f"{n} {most:,}" for n, most in bounds.items() if most is not None]
        return " and ".join(known)

    @property
    def open(self) -> bool:
        """Any network will do."""
        return self.max_params is None and self.max_macs is None

    def holds(self, cost: Cost) -> bool:
        """Whether a network of that cost will do."""
        pairs = ((cost.params, self.max_params), (cost.macs, self.max_macs))
        return all(most is None or value <= most for value, most in pairs)


def nearest(cost: Callable[[int], int | None], target: float) -> int:
    """The whole number from 1 on whose cost is nearest to a target.

    Args:
        cost: Rises with the number; None for those that are too small to be possible.
        target: The cost wanted.

    Raises:
        UsageError: None is possible.
    """

    def below(value: int) -> bool:
        found = cost(value)
        return found is None or found < target

    high = 1
    while below(high):
        high *= 2
        if high > WIDEST:
            raise UsageError(
                f"some width up to {WIDEST} must come to a cost of {target:,.0f}, got "
                "none"
            )
    low = max(high // 2, 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if below(middle) else (low, middle)
    costs = {value: cost(value) for value in (low, high)}
    known = {value: c for value, c in costs.items() if c is not None}
    return min(known, key=lambda value: abs(known[value] - target))


def _is_positive(text: str) -> bool:
    value = literal(text)
    return type(value) in (int, float) and value > 0
