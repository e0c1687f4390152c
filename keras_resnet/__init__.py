"""Residual networks and their lineage, exactly as their papers have them, on Keras 3.

Names are resolved on first use, so that importing the package (which every command
does, also to print its help) does not start a Keras backend.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from keras_resnet.errors import UsageError

if TYPE_CHECKING:
    from keras_resnet.describe import count_macs, count_params
    from keras_resnet.models import MODELS, create_model, list_models, load_model
    from keras_resnet.resnet import ResNetSpec

__version__ = "0.1.0"

__all__ = [
    "MODELS",
    "ResNetSpec",
    "UsageError",
    "count_macs",
    "count_params",
    "create_model",
    "list_models",
    "load_model",
]

_HOMES = {
    "count_macs": "describe",
    "count_params": "describe",
    "MODELS": "models",
    "create_model": "models",
    "list_models": "models",
    "load_model": "models",
    "ResNetSpec": "resnet",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
