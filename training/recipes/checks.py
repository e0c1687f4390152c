"""What a value must be: checks whose failure is told in one sentence."""

import math
from typing import Any, Literal, get_args, get_origin

from keras_resnet.errors import UsageError


def check_range(name: str, value: float | None, low: float, high: float | None) -> None:
    """Raises UsageError unless a number is between ``low`` and ``high``, or None.

    Args:
        name: What the number is called.
        value: The number.
        low: The lowest allowed.
        high: The highest allowed; None: any finite number.
    """
    if value is None or (low <= value < math.inf and (high is None or value <= high)):
        return
    bound = f"at least {low}" if high is None else f"between {low} and {high}"
    if high is None and not value < low:
        bound += " and finite"
    raise UsageError(f"{name} must be {bound}, got {value}")


def check_type(name: str, value: Any, hint: Any) -> None:
    """Raises UsageError unless a value is of the type of an annotation.

    Args:
        name: What the value is called.
        value: The value.
        hint: A class, a union, a Literal or a tuple of one type; an int passes for a
            float.
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
    truth = isinstance(value, bool) and bool not in options
    if truth or not isinstance(value, allowed):
        named = " or ".join(getattr(o, "__name__", str(o)) for o in options)
        raise UsageError(f"{name} must be {named}, got {value!r}")
