"""Keeps libraries from importing optional packages that the process may not need."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# What Keras and TensorFlow import wherever it is installed, which takes as long as all
# the rest, to accept data frames, to draw galleries and to wrap estimators.
KERAS_EXTRAS = ("pandas", "matplotlib", "sklearn")
TENSORFLOW_EXTRAS = ("jax", "scipy")


@contextmanager
def hidden(*packages: str) -> Iterator[None]:
    """Lets libraries that are imported within find none of ``packages``.

    Packages that have been imported already stay visible. Afterwards, all can be
    imported as usual.

    Args:
        *packages: Names of top-level packages that the libraries can do without.
    """
    absent = dict.fromkeys(name for name in packages if name not in sys.modules)
    sys.modules.update(absent)  # type: ignore[arg-type]  # None: cannot be imported
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
