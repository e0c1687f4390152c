"""Registers the networks' classes with Keras, whichever is imported first."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _AfterKeras(MetaPathFinder):
    """Finds modules as usual and imports the networks right after Keras.

    If a module of this package imports Keras, the networks, which may need that
    module, are imported after it is complete.
    """

    def __init__(self) -> None:
        self._loading: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Finds Keras and this package's modules; returns None for other modules."""
        if name != "keras" and not name.startswith(f"{__package__}."):
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            self._watch(name, spec.loader)
        return spec

    def _watch(self, name: str, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            self._loading.add(name)
            try:
                execute(module)
            finally:
                self._loading.discard(name)
            if not self._loading and sys.modules.get("keras") and self in sys.meta_path:
                sys.meta_path.remove(self)
                import_module(f"{__package__}.catalogue")

        loader.exec_module = exec_module


def register_networks() -> None:
    """Registers the classes now, or as soon as Keras is imported."""
    if sys.modules.get("keras"):  # None if importing Keras is blocked, as in a test
        import_module(f"{__package__}.catalogue")
    else:
        sys.meta_path.insert(0, _AfterKeras())
