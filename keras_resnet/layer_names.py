"""Defines the layer names that checkpoints, lesions and weight imports rely on."""

import re

HEAD = "logits"  # the classifier's last layer

UNIT = re.compile(r"stage\d+_block\d+")  # prefix of a residual unit's layers

# VGG's convolutions, each with the layers that follow it.
VGG_LAYER = re.compile(r"(stage\d+)_(?:conv|norm|relu)(\d+)")

# Prefix of the layers that form one volume: residual units, dense layers, transitions,
# inception modules, pooling between stages.
PART = re.compile(
    rf"{UNIT.pattern}|stage\d+_layer\d+|transition\d+|inception\d+[a-z]|stage\d+_pool"
)


def unit_of(name: str) -> str | None:
    """Returns the unit of a layer, e.g. ``stage1_block2``, or a VGG convolution."""
    unit = UNIT.match(name)
    if unit:
        return unit[0]
    layer = VGG_LAYER.fullmatch(name)
    return f"{layer[1]}_conv{layer[2]}" if layer else None
