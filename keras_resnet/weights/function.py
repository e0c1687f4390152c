"""What a network computes with its weights, layer by layer, for comparing networks.

Layers are called by what they do, so two networks of this library compute the same
function of the same weights where their layers' names, kinds and settings are the same.
That holds for every network: built, cloned, or loaded from any file.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from keras_resnet.catalogue import build_model
from keras_resnet.layers import Nested, leaf_layers

Function = dict[str, str]  # a layer's name -> its kind and settings
Described = tuple[str, str, dict[str, Any]]  # name, class, config

# What a layer computes with, beside its weights and what their shapes tell.
SETTINGS = (
    *("strides", "stride", "padding", "dilation_rate", "pool_size", "activation"),
    *("epsilon", "scale", "offset", "size", "alpha", "beta", "k", "survival"),
)
USUAL = ("[1, 1]", '"linear"', "true")  # and therefore not told
# The identity in inference, or given by the shapes around them.
UNSEEN = {"inputlayer", "dropout", "flatten", "concatenate", "recomputed", "branch"}
PATH = re.compile(r"_path\d+(?=_)|_sum$")  # of forms A and B of a ResNeXt
SURVIVAL = re.compile(r"add|stochasticdepth, survival (.+)")
HEAD = re.compile(r"(logits|fc\d)(_relu)?")  # that of another data set may be replaced
SIDE = 64  # of the images of a network that is built only to be compared with


def function_of(model: keras.Model, *, settings: bool = True) -> Function:
    """Returns what a network computes beside its head.

    Args:
        model: A network of this library.
        settings: Whether settings are told; if not, kinds alone.
    """
    return described(
        (layer.name, type(layer).__name__, _config(layer) if settings else {})
        for layer in leaf_layers(model)
    )


def function_in(config: dict[str, Any]) -> Function:
    """Returns what the network of a model's config as JSON computes."""
    return described(_layers_in(config))


def described(layers: Iterable[Described]) -> Function:
    """Returns the function of layers, their kinds as in code or as in Keras' files."""
    function = {}
    for name, class_name, config in layers:
        kind = class_name.rpartition(">")[2].replace("_", "").lower()
        kind = kind.removeprefix("grouped")
        whole = PATH.sub("", name)  # forms A and B are of the same function as form C
        summed = whole != name and kind == "add"
        if kind in UNSEEN or HEAD.fullmatch(name) or summed:
            continue
        known = {
            key: json.dumps(config[key], default=str)
            for key in SETTINGS
            if key in config
        }
        told = (f"{key} {v}" for key, v in known.items() if v not in USUAL)
        function[whole] = ", ".join([kind, *told])
    return function


def survival_ratios(ours: Function, theirs: Function) -> dict[str, float]:
    """Compares the probabilities with which residual branches survive.

    Args:
        ours: What one network computes.
        theirs: What another one of the same layers computes.

    Returns:
        For each unit with another probability, its name and the ratio theirs / ours.
        Adding a branch without dropping it counts as a probability of 1.
    """
    pairs = {
        name: (_survival(theirs.get(name, "")), _survival(kind))
        for name, kind in ours.items()
    }
    return {
        name.removesuffix("_add"): given / own
        for name, (given, own) in pairs.items()
        if given and own and given != own
    }


def _survival(kind: str) -> float | None:
    """The probability of a branch; None: it is not told, or the layer adds none."""
    found = SURVIVAL.fullmatch(kind)
    return float(found[1] or 1) if found else None


def peer_function(model: keras.Model, resnet: str = "resnet50_v1_5") -> Function:
    """Returns what the network of another library with ``model``'s layers computes.

    It is that of the same family and sizes, everything else as published.

    Args:
        model: A network of this library.
        resnet: What a residual network there is like.
    """
    names = {layer.name for layer in leaf_layers(model)}
    depths: dict[str, int] = {}
    for name in names:
        if found := re.match(r"stage(\d+)_(?:block|layer|conv)(\d+)", name):
            depths[found[1]] = max(depths.get(found[1], 0), int(found[2]))
    sizes: dict[str, Any] = {"depths": tuple(depths[key] for key in sorted(depths))}
    if "fc6" in names:
        row, sizes = "alexnet_one_tower", {"widths": (1,) * 5, "hidden": 1}
    elif "flatten" in names:
        row = "vgg11_bn" if "stage1_norm1" in names else "vgg11"
        sizes |= {"widths": (1,) * len(depths), "hidden": 1}
    elif "stage1_layer1_conv1" in names:
        row = "densenet121"
        bottleneck = int("stage1_layer1_conv2" in names)
        sizes |= {"growth_rate": 1, "bottleneck": bottleneck, "stem_width": 2}
    else:
        row, bottleneck = resnet, 4 if "stage1_block1_conv3" in names else 1
        sizes |= {"unit": "basic" if bottleneck == 1 else "bottleneck", "width": 1}
        projected = int("stage1_block1_shortcut" in names)
        sizes["stem_width"] = bottleneck + projected
    side = max(SIDE, 4 * 2 ** len(depths))
    peer = build_model(row, input_shape=(side, side, 3), classes=1, **sizes)
    return function_of(peer)


def _config(layer: keras.layers.Layer) -> dict[str, Any]:
    if isinstance(layer, Nested):  # its config holds the layers inside
        return {key: getattr(layer, key) for key in SETTINGS if hasattr(layer, key)}
    return dict(layer.get_config())


def _layers_in(config: dict[str, Any]) -> Iterator[Described]:
    for layer in config["config"]["layers"]:
        inside = layer["config"]
        if "branch" in inside:
            yield from _layers_in(inside["branch"])
        yield inside["name"], layer["class_name"], inside
