"""Residual networks and related architectures on Keras 3, as their papers define them.

Names are resolved on first use. Importing the package, which every command does even
to print its help, therefore does not start a Keras backend.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from keras_resnet.errors import UsageError
from keras_resnet.registration import register_networks

if TYPE_CHECKING:
    from keras_resnet import weights
    from keras_resnet.archive import load_model
    from keras_resnet.catalogue import MODELS, list_models
    from keras_resnet.describe import count_macs, count_params
    from keras_resnet.families.alexnet import AlexNetSpec
    from keras_resnet.families.densenet import DenseNetSpec
    from keras_resnet.families.googlenet import GoogLeNetSpec
    from keras_resnet.families.highway import HighwaySpec
    from keras_resnet.families.lenet import LeNetSpec
    from keras_resnet.families.resnet import ResNetSpec
    from keras_resnet.families.resnext import ResNeXtSpec
    from keras_resnet.families.vgg import VGGSpec
    from keras_resnet.models import create_model

__version__ = "0.1.0"

__all__ = [
    "MODELS",
    "AlexNetSpec",
    "DenseNetSpec",
    "GoogLeNetSpec",
    "HighwaySpec",
    "LeNetSpec",
    "ResNeXtSpec",
    "ResNetSpec",
    "UsageError",
    "VGGSpec",
    "count_macs",
    "count_params",
    "create_model",
    "list_models",
    "load_model",
    "weights",
]

_HOMES = {
    "count_macs": "describe",
    "count_params": "describe",
    "MODELS": "catalogue",
    "create_model": "models",
    "list_models": "catalogue",
    "load_model": "archive",
    "ResNetSpec": "families.resnet",
    "AlexNetSpec": "families.alexnet",
    "DenseNetSpec": "families.densenet",
    "GoogLeNetSpec": "families.googlenet",
    "HighwaySpec": "families.highway",
    "LeNetSpec": "families.lenet",
    "ResNeXtSpec": "families.resnext",
    "VGGSpec": "families.vgg",
}


def __getattr__(name: str) -> Any:
    if name == "weights":
        return import_module(f"{__name__}.weights")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_networks()  # lets keras.models.load_model find the classes
