"""Converts numbers of any type to Python numbers."""

import operator
from numbers import Real
from typing import Any


def plain(value: Any) -> Any:
    """Converts a number to a Python int, float or bool, and a list or array to a tuple.

    NumPy values are recognised by their ``tolist`` method, without importing NumPy.
    Objects with ``__index__`` become integers; anything else is returned unchanged.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return tuple(plain(x) for x in value)
    if type(value) in (bool, int, float):
        return value
    if hasattr(value, "__index__"):
        return operator.index(value)
    return float(value) if isinstance(value, Real) else value
