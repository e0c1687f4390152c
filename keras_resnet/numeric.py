"""Numbers of any kind as Python's own."""

import operator
from numbers import Real
from typing import Any


def plain(value: Any) -> Any:
    """Returns Python's int, float or bool for a number, a tuple for a list or array.

    NumPy's values are known by their ``tolist``, so that NumPy need not be imported.
    Integers are what has ``__index__``; anything else stays as it is.
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
