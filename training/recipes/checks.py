"""Checks the ranges and types of values."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from keras_resnet.errors import UsageError


@dataclass(frozen=True)
class Range:
    """The numbers that a field allows, in the metadata of its annotation.

    Attributes:
        low: The lowest allowed number.
        high: The highest allowed number; None: any finite number.
    """

    low: float
    high: float | None = None


def check_ranges(record: object) -> None:
    """Raises UsageError unless all fields of a dataclass are in their ``Range``.

    A field may also be None, or a tuple of numbers that are each in the range.
    """
    for name, hint in get_type_hints(type(record), include_extras=True).items():
        for limits in getattr(hint, "__metadata__", ()):
            if isinstance(limits, Range):
                value = getattr(record, name)
                for number in value if isinstance(value, tuple) else (value,):
                    check_range(name, number, limits.low, limits.high)


def check_range(name: str, value: float | None, low: float, high: float | None) -> None:
    """Raises UsageError unless a number is None or between ``low`` and ``high``.

    Args:
        name: Name of the number in the message.
        value: The number.
        low: The lowest allowed number.
        high: The highest allowed number; None: any finite number.
    """
    if value is None or (low <= value < math.inf and (high is None or value <= high)):
        return
    bound = f"at least {low}" if high is None else f"between {low} and {high}"
    if high is None and not value < low:
        bound += " and finite"
    raise UsageError(f"{name} must be {bound}, got {value}")


def check_type(name: str, value: Any, hint: Any) -> None:
    """Raises UsageError unless a value has the type of an annotation.

    Args:
        name: Name of the value in the message.
        value: The value.
        hint: A class, a union, a Literal or a tuple of one type; an int is accepted
            as a float.
    """
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        if value not in choices:
            raise UsageError(
                f"{name} must be one of {', '.join(choices)}, got {value!r}"
            )
        return
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            raise UsageError(f"{name} must be a list, got {value!r}")
        for element in value:
            check_type(f"each of {name}", element, get_args(hint)[0])
        return
    options = get_args(hint) or (hint,)
    allowed = (*options, int) if float in options else options
    wrong_bool = isinstance(value, bool) and bool not in options
    if wrong_bool or not isinstance(value, allowed):
        named = " or ".join(getattr(o, "__name__", str(o)) for o in options)
        raise UsageError(f"{name} must be {named}, got {value!r}")
