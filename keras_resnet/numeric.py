"""Numbers of any kind as Python's own."""

import operator
from numbers import Real
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Returns Python's int, float or bool for a number, a tuple for a list or array.

    Integers are what has ``__index__``, as NumPy's; anything else stays as it is.
    """
    if isinstance(value, np.ndarray | np.bool_):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return tuple(plain(x) for x in value)
    if type(value) in (bool, int, float):
        return value
    if hasattr(value, "__index__"):
        return operator.index(value)
    return float(value) if isinstance(value, Real) else value
