"""How layers are called, which checkpoints, lesions and imports of weights rely on."""

import re

HEAD = "logits"  # the classifier's last layer

UNIT = re.compile(r"stage\d+_block\d+")  # begins the names of a residual unit's layers

# VGG's convolutions, each with what follows it.
VGG_LAYER = re.compile(r"(stage\d+)_(?:conv|norm|relu)(\d+)")

# Begins the names of layers that make one volume together: residual units, dense
# layers, transitions, inception modules, pooling between stages.
PART = re.compile(
    rf"{UNIT.pattern}|stage\d+_layer\d+|transition\d+|inception\d+[a-z]|stage\d+_pool"
)


def unit_of(name: str) -> str | None:
    """The unit that a layer of that name belongs to: ``stage1_block2``, VGG's layer."""
    unit = UNIT.match(name)
    if unit:
        return unit[0]
    layer = VGG_LAYER.fullmatch(name)
    return f"{layer[1]}_conv{layer[2]}" if layer else None
