"""Keeps libraries from importing optional packages that the process may not need."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def unused_packages() -> tuple[str, ...]:
    """Returns optional packages that Keras and TensorFlow import where installed.

    Importing them takes as long as importing all others. Keras uses pandas for data
    frames, Matplotlib for galleries of images and scikit-learn for its wrappers.
    TensorFlow Lite uses JAX, which needs SciPy, to convert JAX functions; these two
    count as unused only if TensorFlow is Keras' backend.
    """
    packages = ("pandas", "matplotlib", "sklearn")
    return (*packages, "jax", "scipy") if _backend() == "tensorflow" else packages


def _backend() -> str:
    """Returns the backend that Keras will choose, from the places where it looks."""
    user = Path("~").expanduser()
    home = (user if os.access(user, os.W_OK) else Path("/tmp")) / ".keras"
    home = Path(os.environ.get("KERAS_HOME", home)).expanduser()
    try:
        stored = json.loads((home / "keras.json").read_text(encoding="utf-8"))
        name = stored.get("backend")
    except (OSError, ValueError, AttributeError):  # Keras goes on without it, too
        name = None
    return os.environ.get("KERAS_BACKEND") or name or "tensorflow"


@contextmanager
def hide_packages(*packages: str) -> Iterator[None]:
    """Makes imports of ``packages`` fail inside the ``with`` block.

    Packages that are already imported stay available. After the block all can be
    imported, but a library that was imported in it goes on without them.

    Args:
        *packages: Names of top-level packages.
    """
    absent = dict.fromkeys(name for name in packages if name not in sys.modules)
    sys.modules.update(absent)  # type: ignore[arg-type]  # None makes imports fail
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
