"""Limits the cost of networks and finds networks of equal cost."""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from keras_resnet.catalogue import find_spec
from keras_resnet.describe import Cost
from keras_resnet.errors import UsageError
from training.recipes.checks import Range, check_ranges
from training.recipes.recipe import literal

WIDEST = 2**14
OWN = "self"  # stands for the recipe's own network in --match


@dataclass(frozen=True)
class Budget:
    """Limits on the cost of a sweep's networks.

    Attributes:
        max_params: Maximum number of parameters; None: no limit.
        max_macs: Maximum multiply-accumulates per image; None: no limit.
        match: Cost to match, ``"params"`` or ``"macs"``, and its network: a name,
            ``"self"`` (the recipe's or the first given point's) or ``"2*self"``.
    """

    max_params: Annotated[int | None, Range(1)] = None
    max_macs: Annotated[int | None, Range(1)] = None
    match: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.match is None:
            return
        kind, network = self.match
        if kind not in ("params", "macs"):
            raise UsageError(f"match must begin with params or macs, got {kind!r}")
        factor, times, name = network.rpartition("*")
        if times and not _is_positive(factor):
            raise UsageError(
                f"match must be FACTOR*NETWORK with FACTOR above 0, got {network!r}"
            )
        if name != OWN:
            find_spec(name)

    def __str__(self) -> str:
        """Formats the limits that are set."""
        bounds = {"max_params": self.max_params, "max_macs": self.max_macs}
        known = [f"{n} {most:,}" for n, most in bounds.items() if most is not None]
        return " and ".join(known)

    @property
    def open(self) -> bool:
        """Whether every network is within the budget."""
        return self.max_params is None and self.max_macs is None

    def holds(self, cost: Cost) -> bool:
        """Returns whether a network of this cost is within the budget."""
        pairs = ((cost.params, self.max_params), (cost.macs, self.max_macs))
        return all(most is None or value <= most for value, most in pairs)


def nearest(cost: Callable[[int], int | None], target: float, name: str) -> int:
    """Returns the integer from 1 to ``WIDEST`` whose cost is nearest to a target.

    Args:
        cost: Increases with the integer; None: the integer is too small to be valid.
        target: Target cost.
        name: Name of the integer, for the error message.

    Raises:
        UsageError: The target is above the largest cost, more than half a step below
            the smallest, or less than half the smallest.
    """
    largest = cost(WIDEST)
    if largest is None or largest < target:
        raise _unreachable(target, f"{name}={WIDEST}", "largest", largest)
    # An integer that is too small to be valid counts as one below the target.
    high = 1 + bisect_left(range(1, WIDEST), target, key=lambda n: cost(n) or 0)
    above = cost(high) or largest
    below = cost(high - 1) if high > 1 else None
    if below is not None:
        return high - 1 if target - below < above - target else high
    step = (cost(high + 1) or above) - above
    if above - target > min(step / 2, target):
        raise _unreachable(target, f"{name}={high}", "smallest", above)
    return high


def _unreachable(target: float, at: str, extreme: str, cost: int | None) -> UsageError:
    found = "is not a valid network" if cost is None else f"costs {cost:,}"
    return UsageError(
        f"--match must be a cost that some width reaches, got {target:,.9g}; the "
        f"{extreme}, {at}, {found}"
    )


def _is_positive(text: str) -> bool:
    value = literal(text)
    return type(value) in (int, float) and 0 < value < math.inf
