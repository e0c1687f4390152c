"""Keeps libraries from importing optional packages that the process may not need."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def unneeded() -> tuple[str, ...]:
    """Returns packages that Keras and TensorFlow import wherever they are installed.

    They take as long as all the rest, only to accept data frames, to draw galleries and
    to wrap estimators; JAX, which needs SciPy, to convert its functions.
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
