"""Loads weights of torchvision's and timm's networks."""

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_resnet.errors import UsageError
from keras_resnet.layer_names import HEAD
from keras_resnet.layers import leaf_layers
from keras_resnet.weights.assign import assign, weights_of
from keras_resnet.weights.function import peer_function
from keras_resnet.weights.names import TORCH_DENSENET, TORCH_RESNET, renamed

VARIABLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
IGNORED = ("num_batches_tracked", "n_averaged")  # counters, unused here
# Keys under which training scripts store the state dict; the first match counts.
WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "net", "weights"),
    *("state_dict_ema", "model_ema"),
)
# Modules that wrap the network: DistributedDataParallel and averages, torch.compile,
# Lightning and other training scripts.
AROUND = {"module", "_orig_mod", "model", "net"}
# Published DenseNets use "norm.1" for "norm1"; torchvision renames it, too.
DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)")
# timm stores VGG's fully connected layers as convolutions under different names.
TIMM_VGG = {
    "pre_logits.fc1": "classifier.0",
    "pre_logits.fc2": "classifier.3",
    "head.fc": "classifier.6",
}


def load_torch(model: keras.Model, state_dict: Mapping[str, Any]) -> None:
    """Loads the weights of a torchvision or timm network; logits are equal afterwards.

    Supported: ``resnet18``, ``resnet34``, ``resnet*_v1_5`` (their bottlenecks stride in
    the 3×3), ``resnext*``, ``densenet*``, ``vgg*`` and ``alexnet_one_tower``.

    Args:
        model: A network created by ``create_model``.
        state_dict: Parameters by name, as tensors or arrays. It may be a checkpoint
            with the state dict under a key of ``WRAPPERS``, trained weights before
            their average, and with module names of ``AROUND`` before the parameters'.

    Raises:
        UsageError: The two libraries lack the network (the message says why),
            ``state_dict`` is invalid, or names, shapes or functions differ.
    """
    state = _unwrapped(state_dict)
    layers = {layer.name: layer for layer in leaf_layers(model)}
    theirs = _module_names(model, layers)
    given = {
        _torchvision_name(name): _array(value)
        for name, value in state.items()
        if not name.endswith(IGNORED)
    }
    values = {}
    for name in weights_of(model):
        layer, kind = name.split("/")
        key = f"{theirs[layer]}.{VARIABLES[kind]}"
        if key in given:
            values[name] = given.pop(key)
            if kind == "kernel":
                values[name] = _channels_last(values[name], layer, layers)
    if "logits/kernel" not in values:  # the network has no head
        for kind in ("weight", "bias"):
            given.pop(f"{theirs['logits']}.{kind}", None)
    assign(model, {**values, **given}, "the state dict", peer_function(model))


def _unwrapped(state: Any) -> Mapping[str, Any]:
    """Returns the state dict in a checkpoint.

    Raises:
        UsageError: The checkpoint holds no state dict, or two networks.
    """
    while isinstance(state, Mapping):
        inside = (state[key] for key in WRAPPERS if isinstance(state.get(key), Mapping))
        inner = next(inside, None)
        if inner is None:
            break
        state = inner
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and value is not None and not isinstance(value, Mapping)
        for name, value in state.items()
    ):
        raise UsageError(
            "state_dict must map names to tensors, got "
            f"{state!r:.60}; create_model(..., weights=PATH) reads files"
        )
    seen: dict[str, str] = {}
    for name in state:
        other = seen.setdefault(_torchvision_name(name), name)
        if other != name:
            raise UsageError(
                f"state_dict must hold one network, got {other!r} and {name!r}; "
                "pass the entries of one"
            )
    return state


def _module_names(
    model: keras.Model, layers: Mapping[str, keras.layers.Layer]
) -> dict[str, str]:
    """Returns PyTorch's name of each layer, and always of the head."""
    reason = _difference(layers)
    if reason:
        raise UsageError(
            f"load_torch supports networks that torchvision or timm has, got "
            f"{model.name}: {reason}"
        )
    names = [*(name for name in layers if name != HEAD), HEAD]
    if "flatten" in layers:
        return _places(names)
    dense = "stage1_layer1_conv1" in layers
    rules = TORCH_DENSENET if dense else TORCH_RESNET
    return {name: renamed(name, rules) for name in names}


def _places(names: list[str]) -> dict[str, str]:
    """Numbers the layers of VGG and AlexNet, which are sequences in PyTorch."""
    names = [name for name in names if not name.endswith(("_pad", "image"))]
    middle = names.index("flatten")
    return {
        **{name: f"features.{i}" for i, name in enumerate(names[:middle])},
        **{name: f"classifier.{i}" for i, name in enumerate(names[middle + 1 :])},
    }


def _difference(layers: Mapping[str, keras.layers.Layer]) -> str | None:
    """Returns why neither library has such a network; None if one has it."""
    if "inception3a_5x5" in layers:
        return (
            "torchvision's GoogLeNet has 3×3 convolutions where the paper and this "
            "network have 5×5, and batch instead of local response normalisation"
        )
    if "conv1_lrn" in layers:
        return (
            "torchvision's AlexNet is the one-tower network of 2014; load it into "
            "'alexnet_one_tower'"
        )
    if "stage1_block1_pre_norm" in layers or "stage1_block2_pre_norm" in layers:
        return "their residual networks do not use pre-activation"
    bottleneck = "stage1_block1_conv3" in layers and "stage2_block1_conv1" in layers
    if bottleneck and layers["stage2_block1_conv1"].strides[0] > 1:
        return (
            "their bottlenecks halve the size in the 3×3 convolution, those of the "
            "paper in the first 1×1; load it into a '_v1_5' network, or set "
            "stride_at='3x3'"
        )
    ours = {"stem_pool", "stage1_conv1", "conv1"}  # ImageNet's stems
    return None if ours & set(layers) else "they have no such network"


def _torchvision_name(name: str) -> str:
    name = ".".join(part for part in name.split(".") if part not in AROUND)
    module, _, kind = DENSE_LAYER.sub(r"\1\2", name).rpartition(".")
    return f"{TIMM_VGG.get(module, module)}.{kind}".removeprefix(".")


def _array(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a tensor; NumPy has no bfloat16
        value = value.detach().cpu().float().numpy()
    return np.asarray(value)


def _channels_last(
    value: np.ndarray, name: str, layers: Mapping[str, keras.layers.Layer]
) -> np.ndarray:
    """Returns a kernel in Keras' order of axes, or as is if its shape does not fit."""
    if isinstance(layers[name], keras.layers.Conv2D):
        return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
    value = value.reshape(len(value), -1)
    dense = [n for n, x in layers.items() if isinstance(x, keras.layers.Dense)]
    if "flatten" in layers and name == dense[0]:  # it reads flattened feature maps
        height, width, channels = layers["flatten"].input.shape[1:]
        if value.shape[1] == height * width * channels:
            value = value.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
            value = value.reshape(len(value), -1)
    return value.T
