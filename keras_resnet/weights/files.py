"""Weights from files, and those that keras.applications publishes."""

import pickle
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_resnet.errors import UsageError
from keras_resnet.layer_names import HEAD
from keras_resnet.weights.assign import require_same
from keras_resnet.weights.keras_applications import load_keras_applications
from keras_resnet.weights.torch import load_torch
from keras_resnet.weights.transfer import transfer

IMAGENET = {  # our name -> keras.applications' constructor
    **{f"resnet{depth}": f"ResNet{depth}" for depth in (50, 101, 152)},
    **{f"resnet{depth}_v2_keras": f"ResNet{depth}V2" for depth in (50, 101, 152)},
    **{f"densenet{depth}": f"DenseNet{depth}" for depth in (121, 169, 201)},
    **{f"vgg{depth}": f"VGG{depth}" for depth in (16, 19)},
}


def load_imagenet(model: keras.Model) -> None:
    """Takes over the weights that keras.applications publishes for this network.

    Keras downloads them once, checks their hash and keeps them in ``~/.keras/models``.

    Raises:
        UsageError: There are none for this network, or they cannot be had.
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
    """Takes over the weights in a file, without running any code that it may hold.

    Args:
        model: A network made by ``create_model``.
        path: ``.keras`` or ``.weights.h5`` of a network of this library; ``.pth``,
            ``.pt`` or ``.safetensors`` of torchvision's or timm's (extra ``[torch]``).

    Raises:
        UsageError: There is no such file, it is of another kind or damaged, or its
            names or shapes differ from the network's.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"weights must be 'imagenet' or an existing file, got {path}")
    for suffix, load in LOADERS.items():
        if path.name.endswith(suffix):
            load(model, path)
            return
    raise UsageError(f"weights must be a file {', '.join(LOADERS)}, got {path}")


def _load_keras(model: keras.Model, path: Path) -> None:
    from keras_resnet.models import load_model

    transfer(load_model(path), model)


def _load_h5(model: keras.Model, path: Path) -> None:
    """Keras' weights files know layers by class and order, not by name."""
    from keras_resnet.models import MODELS

    shapes = _read(path, _shapes_in_h5)
    classes = _classes(shapes)
    twin = model
    if classes and model.output_shape[-1] != classes and model.name in MODELS:
        twin = keras.models.clone_model(model)
        features = twin.get_layer(HEAD).input if _has_head(twin) else twin.output
        head = keras.layers.Dense(classes, name=HEAD)
        twin = keras.Model(twin.input, head(features), name=model.name)
    before = twin.get_weights()
    try:
        with warnings.catch_warnings(action="ignore"):  # Keras', of each that differs
            _read(path, twin.load_weights)
    except UsageError:
        twin.set_weights(before)  # Keras has taken over what fits
        own = _shapes_as_h5(twin)
        require_same(own, shapes, f"weights {path} must fit {model.name}")
        raise
    if twin is not model:
        transfer(twin, model)


def _shapes_as_h5(model: keras.Model) -> dict[str, tuple[int, ...]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.weights.h5")
        model.save_weights(path)
        return _shapes_in_h5(path)


def _shapes_in_h5(path: Path) -> dict[str, tuple[int, ...]]:
    """Of the layers' variables, by Keras' names: ``conv2d_3/vars/0``."""
    import h5py

    shapes: dict[str, tuple[int, ...]] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            shapes[name] = item.shape

    with h5py.File(path) as file:
        file["layers"].visititems(visit)
    return shapes


def _has_head(model: keras.Model) -> bool:
    return any(layer.name == HEAD for layer in model.layers)


def _classes(shapes: dict[str, tuple[int, ...]]) -> int | None:
    """The length of the last fully connected layer's bias; None: there is none."""
    biases = [n for n in shapes if n.startswith("dense") and n.endswith("/vars/1")]
    if not biases:
        return None
    return shapes[max(biases, key=lambda name: (len(name), name))][0]


def _load_torch_file(model: keras.Model, path: Path) -> None:
    torch = _require_package("torch")

    def load(path: Path) -> Any:
        try:
            return torch.load(path, "cpu", weights_only=True)
        except (pickle.UnpicklingError, KeyError):
            # What PyTorch says is for its own users, and long.
            raise ValueError(
                "it is no state dict, or damaged; save a module's by "
                "torch.save(module.state_dict(), PATH)"
            ) from None

    state = _read(path, load)
    for key in ("state_dict", "model"):  # how training scripts wrap it
        state = state.get(key, state) if isinstance(state, dict) else state
    if not isinstance(state, dict):
        raise UsageError(f"weights must be a dict of tensors, got {path}")
    load_torch(model, state)


def _load_safetensors(model: keras.Model, path: Path) -> None:
    module = _require_package("safetensors.numpy")
    load_torch(model, _read(path, module.load_file))


def _require_package(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise UsageError(
            f"reading these weights needs the package {name.partition('.')[0]}, which "
            "is not installed; pip install keras-resnet[torch]"
        ) from None


def _read(path: Path, read: Callable[[Path], Any]) -> Any:
    """What ``read`` makes of the file; its errors are of too many kinds to name."""
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
}
