"""Describes layer by layer what a network computes, to compare two networks.

The names of layers state their purpose. Two networks of this library therefore compute
the same function of the same weights if the names, kinds and settings of their layers
agree. This holds for every network: built, cloned, or loaded from any file.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from keras_resnet.catalogue import build_model
from keras_resnet.keras_internals import unallocated
from keras_resnet.layers import Nested, leaf_layers

Function = dict[str, str]  # a layer's name -> its kind and settings
Described = tuple[str, str, dict[str, Any]]  # name, class, config

# The settings that affect a layer's output, besides its weights and their shapes.
SETTINGS = (
    *("strides", "stride", "padding", "dilation_rate", "pool_size", "activation"),
    *("epsilon", "scale", "offset", "size", "alpha", "beta", "k", "survival"),
)
USUAL = ("[1, 1]", '"linear"', "true")  # default values, omitted
# Layers that are the identity in inference, or that the shapes around them determine.
UNSEEN = {"inputlayer", "dropout", "flatten", "concatenate", "recomputed", "branch"}
PATH = re.compile(r"_path\d+(?=_)|_sum$")  # in forms A and B of a ResNeXt
SURVIVAL = re.compile(r"add|stochasticdepth, survival (.+)")
HEAD = re.compile(r"(logits|fc\d)(_relu)?")  # replaceable for another data set
SIDE = 64  # image size of a network that is built only for a comparison


def function_of(model: keras.Model, *, settings: bool = True) -> Function:
    """Returns the kinds of a network's layers without its head, and their settings."""
    return described(
        (layer.name, type(layer).__name__, _config(layer) if settings else {})
        for layer in leaf_layers(model)
    )


def function_in(config: dict[str, Any]) -> Function:
    """Returns the function of the network that a model's JSON config describes."""
    return described(_layers_in(config))


def described(layers: Iterable[Described]) -> Function:
    """Returns the function of layers, with kinds named as in code or in Keras files."""
    function = {}
    for name, class_name, config in layers:
        kind = class_name.rpartition(">")[2].replace("_", "").lower()
        kind = kind.removeprefix("grouped")
        whole = PATH.sub("", name)  # forms A, B and C compute the same function
        summed = whole != name and kind == "add"
        if kind in UNSEEN or HEAD.fullmatch(name) or summed:
            continue
        known = {
            key: json.dumps(config[key], default=str)
            for key in SETTINGS
            if key in config
        }
        shown = (f"{key} {v}" for key, v in known.items() if v not in USUAL)
        function[whole] = ", ".join([kind, *shown])
    return function


def survival_ratios(ours: Function, theirs: Function) -> dict[str, float]:
    """Returns the ratio theirs / ours of the branches' survival probabilities.

    The result has the units, by name, whose probabilities differ. An addition without
    stochastic depth counts as probability 1.
    """
    pairs = {
        name: (_survival(theirs.get(name, "")), _survival(kind))
        for name, kind in ours.items()
    }
    return {
        name.removesuffix("_add"): other / mine
        for name, (other, mine) in pairs.items()
        if other and mine and other != mine
    }


def _survival(kind: str) -> float | None:
    """Returns a branch's survival probability; None if unknown or not a branch."""
    found = SURVIVAL.fullmatch(kind)
    return float(found[1] or 1) if found else None


def peer_function(model: keras.Model, resnet: str = "resnet50_v1_5") -> Function:
    """Returns the function of another library's network with ``model``'s layers.

    The network has the same family and sizes, and is otherwise as published; a residual
    one is like the network called ``resnet``.
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
    with unallocated():
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
