"""Defines the space of a sweep: fields of recipe or network and their values."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from keras_resnet.errors import UsageError
from training.recipes.recipe import literal

SOLVED = "?"  # the value of a field that is solved for to match a cost
KEPT = "="  # the value of a field that keeps the recipe's value
GRID = 10  # number of values that a grid takes from a range
LARGEST = 2**53  # larger integers are not all exact as floats

Point = dict[str, Any]  # field -> value


@dataclass(frozen=True)
class Choice:
    """A list of values.

    Attributes:
        values: The values, at least one.
    """

    values: tuple[Any, ...]

    @property
    def grid(self) -> tuple[Any, ...]:
        """All values."""
        return self.values

    @property
    def numeric(self) -> bool:
        """Whether all values are numbers of one type and thus ordered."""
        return {type(value) for value in self.values} in ({int}, {float})


@dataclass(frozen=True)
class Range:
    """All numbers from one to another.

    Attributes:
        low: Lowest number.
        high: Highest number; both are ints if the range has integers only.
        log: Whether numbers are drawn uniformly on a logarithmic scale.
    """

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether the range has integers only."""
        return type(self.low) is int and type(self.high) is int

    @property
    def grid(self) -> tuple[Any, ...]:
        """Evenly spaced values that include both ends."""
        spread = np.geomspace if self.log else np.linspace
        values = spread(float(self.low), float(self.high), GRID).tolist()
        if self.whole:
            return tuple(sorted({round(value) for value in values}))
        return tuple(values)


Space = dict[str, Choice | Range]


def read_space(texts: Iterable[str]) -> Space:
    """Parses ``FIELD=VALUE,VALUE,…``, ``FIELD=LOW..HIGH`` and ``FIELD=LOW..HIGH:log``.

    Raises:
        UsageError: A text has another form, or a field occurs twice.
    """
    space: Space = {}
    for text in texts:
        field, sign, values = text.partition("=")
        if not (field and sign and values):
            raise UsageError(
                "space must be FIELD=VALUE,VALUE,… or FIELD=LOW..HIGH[:log], got "
                f"{text!r}"
            )
        if field in space:
            raise UsageError(f"space must contain each field once, got {field} twice")
        known = _range(field, values) if ".." in values else _choice(field, values)
        space[field] = known
    return space


def _choice(field: str, text: str) -> Choice:
    parts = _split(text)
    if "" in parts:
        raise UsageError(f"values of {field} must not be empty, got {text!r}")
    if text.count("(") + text.count("[") != text.count(")") + text.count("]"):
        raise UsageError(f"brackets of {field} must match, got {text!r}")
    values = tuple(literal(part) for part in parts)
    if {type(value) for value in values} == {int, float}:
        values = tuple(map(float, values))
    return Choice(tuple(dict.fromkeys(values)))


def _split(text: str) -> list[str]:
    """Splits a text at the commas outside brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _range(field: str, text: str) -> Range:
    ends, _, scale = text.partition(":")
    low, high = (literal(end) for end in ends.split("..", 1))
    numbers = all(type(end) in (int, float) for end in (low, high))
    if not (numbers and -LARGEST < low < high < LARGEST):
        raise UsageError(
            f"{field} must range from one number to a higher one, got {text!r}"
        )
    if scale not in ("", "log"):
        raise UsageError(f"a range's scale must be log or omitted, got {scale!r}")
    if scale and low <= 0:
        raise UsageError(f"a logarithmic range must start above 0, got {text!r}")
    return Range(low, high, log=bool(scale))


def points(space: Space) -> Iterator[Point]:
    """Yields all combinations lazily; the first field changes slowest."""
    values = [field.grid for field in space.values()]
    for chosen in product(*values):
        yield dict(zip(space, chosen, strict=True))


def size(space: Space) -> float:
    """Returns the number of points; infinite with a range of real numbers."""
    sizes = [
        len(field.grid)
        if isinstance(field, Choice)
        else (field.high - field.low + 1 if field.whole else math.inf)
        for field in space.values()
    ]
    return math.prod(sizes)
