"""What the networks of a sweep cost, and networks that cost the same."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import keras

from keras_resnet.catalogue import find_spec
from keras_resnet.describe import count_macs, count_params
from keras_resnet.errors import UsageError
from keras_resnet.families.branch import FORMS
from keras_resnet.models import create_model
from training.recipes.recipe import literal

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
    """Returns what a network costs; its weights are described but not allocated.

    Args:
        model: Its name.
        spec: The fields of its spec that differ, with their values.
        shape: Of an image, ``(H, W, C)``.
        classes: How many.
    """
    fields = dict(spec)
    if fields.get("form") in FORMS:
        # All forms cost the same, but A and B have a layer for each path.
        fields["form"] = "C"
    try:
        # Variables made in this scope have a shape and an initializer, and no value.
        with keras.StatelessScope(initialize_variables=False):
            network = create_model(model, input_shape=shape, classes=classes, **fields)
            return Cost(count_params(network), count_macs(network))
    finally:
        # Keras' global state keeps the network and the list of variables without a
        # value, which the end of any other such scope would allocate.
        keras.backend.clear_session(free_memory=False)


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


def nearest(cost: Callable[[int], int | None], target: float, name: str) -> int:
    """Returns the whole number from 1 to ``WIDEST`` whose cost is nearest to a target.

    Args:
        cost: Rises with the number; None for those that are too small to be possible.
        target: The cost wanted.
        name: What the number is, for the message.

    Raises:
        UsageError: The target is above the largest cost, or too far below the smallest:
            more than half a step, or less than half of it.
    """
    low, high = 0, WIDEST
    least, largest = None, cost(high)
    if largest is None or largest < target:
        raise _unreachable(target, f"{name}={high}", "largest", largest)
    while high - low > 1:
        middle = max(low + 1, math.isqrt(max(low, 1) * high))
        found = cost(middle)
        if found is None or found < target:
            low, least = middle, found
        else:
            high, largest = middle, found
    if least is not None:
        return low if target - least < largest - target else high
    step = (cost(high + 1) or largest) - largest
    if largest - target > min(step / 2, target):
        raise _unreachable(target, f"{name}={high}", "smallest", largest)
    return high


def _unreachable(target: float, at: str, extreme: str, cost: int | None) -> UsageError:
    found = "there is no such network" if cost is None else f"costs {cost:,}"
    return UsageError(
        f"--match must be a cost that some width reaches, got {target:,.9g}; the "
        f"{extreme}, {at}, {found}"
    )


def _is_positive(text: str) -> bool:
    value = literal(text)
    return type(value) in (int, float) and 0 < value < math.inf
