"""Loads weights from files and from keras.applications."""

import pickle
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import keras

from keras_resnet.archive import load_model
from keras_resnet.errors import UsageError
from keras_resnet.weights.assign import assign
from keras_resnet.weights.h5 import read_h5
from keras_resnet.weights.keras_applications import (
    is_theirs,
    load_arrays,
    load_keras_applications,
)
from keras_resnet.weights.torch import load_torch
from keras_resnet.weights.transfer import laid_out, transfer

IMAGENET = {  # our name -> keras.applications' constructor
    **{f"resnet{depth}": f"ResNet{depth}" for depth in (50, 101, 152)},
    **{f"resnet{depth}_v2_keras": f"ResNet{depth}V2" for depth in (50, 101, 152)},
    **{f"densenet{depth}": f"DenseNet{depth}" for depth in (121, 169, 201)},
    **{f"vgg{depth}": f"VGG{depth}" for depth in (16, 19)},
}


def load_imagenet(model: keras.Model) -> None:
    """Loads the weights that keras.applications publishes for this network.

    Keras downloads them once, checks their hash and caches them in ``~/.keras/models``.

    Raises:
        UsageError: No weights exist for this network, or the download fails.
    """
    if model.name not in IMAGENET:
        raise UsageError(
            f"weights 'imagenet' exist for {', '.join(IMAGENET)}, got {model.name}; "
            "give the path of a file"
        )
    try:
        reference = getattr(keras.applications, IMAGENET[model.name])()
    except Exception as error:  # Keras turns a failed download into a bare Exception
        raise UsageError(
            f"weights 'imagenet' of {model.name} must be downloadable or in "
            f"~/.keras/models, got {error}"
        ) from None
    load_keras_applications(model, reference)


def load_file(model: keras.Model, path: str | Path) -> None:
    """Loads the weights in a file without running any code from the file.

    Args:
        model: A network created by ``create_model``.
        path: ``.keras``, ``.h5`` or ``.weights.h5`` of a network of this library or of
            keras.applications; ``.pth``, ``.pt`` or ``.safetensors`` of torchvision's
            or timm's (extra ``[torch]``).

    Raises:
        UsageError: The file is missing, damaged or of another type, or its names,
            shapes or function differ from those of the network.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"weights must be 'imagenet' or an existing file, got {path}")
    for suffix, load in LOADERS.items():
        if path.name.endswith(suffix):
            load(model, path)
            return
    raise UsageError(f"weights must end in one of {', '.join(LOADERS)}, got {path}")


def _load_keras(model: keras.Model, path: Path) -> None:
    source = load_model(path)
    if is_theirs(layer.name for layer in source.layers):
        load_keras_applications(model, source)
    else:
        transfer(source, model)


def _load_h5(model: keras.Model, path: Path) -> None:
    stored = _read(path, read_h5)
    if is_theirs(name.partition("/")[0] for name in stored.values):
        load_arrays(model, stored.values, path.name)
        return
    values = laid_out(stored.values, model)
    assign(model, values, str(path), stored.function, settings=stored.settings)


def _load_torch_file(model: keras.Model, path: Path) -> None:
    torch = _require_package("torch")

    def load(path: Path) -> Any:
        try:
            return torch.load(path, "cpu", weights_only=True)
        except (pickle.UnpicklingError, KeyError):
            # PyTorch's own message is long and addresses its users.
            raise ValueError(
                "it is not a state dict or is damaged; save a module with "
                "torch.save(module.state_dict(), PATH)"
            ) from None

    state = _read(path, load)
    load_torch(model, state)


def _load_safetensors(model: keras.Model, path: Path) -> None:
    module = _require_package("safetensors.numpy")
    load_torch(model, _read(path, module.load_file))


def _require_package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise UsageError(
            f"reading these weights needs the package {name.partition('.')[0]}, which "
            "is not installed; pip install residual-keras[torch]"
        ) from None


def _read(path: Path, read: Callable[[Path], Any]) -> Any:
    """Returns ``read(path)``; turns its errors, of too many types, into UsageError."""
    try:
        return read(path)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"weights must be a complete file of this network, got {path}: {reason}"
        ) from None


LOADERS = {
    ".keras": _load_keras,
    ".weights.h5": _load_h5,
    ".pth": _load_torch_file,
    ".pt": _load_torch_file,
    ".safetensors": _load_safetensors,
    ".h5": _load_h5,
}
