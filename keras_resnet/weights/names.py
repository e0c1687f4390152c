"""Maps layer names of these networks to the names in other libraries, by rules.

A rule is a pattern for a layer's name in this library, and the other library's name as
a function of the numbers and kinds in it.
"""

import re
from collections.abc import Callable, Sequence

Rule = tuple[str, str | Callable[..., str]]

UNIT, LAYER = r"stage(\d+)_block(\d+)", r"stage(\d+)_layer(\d+)"

TORCH_RESNET: tuple[Rule, ...] = (
    ("stem_conv", "conv1"),
    ("stem_norm", "bn1"),
    (rf"{UNIT}_conv(\d)", lambda s, b, i: f"layer{s}.{b - 1}.conv{i}"),
    (rf"{UNIT}_norm(\d)", lambda s, b, i: f"layer{s}.{b - 1}.bn{i}"),
    (rf"{UNIT}_shortcut", lambda s, b: f"layer{s}.{b - 1}.downsample.0"),
    (rf"{UNIT}_shortcut_norm", lambda s, b: f"layer{s}.{b - 1}.downsample.1"),
    ("logits", "fc"),
)
TORCH_DENSENET: tuple[Rule, ...] = (
    (r"stem_(conv|norm)", lambda kind: f"features.{kind}0"),
    (
        rf"{LAYER}_(conv|norm)(\d)",
        lambda s, n, kind, i: f"features.denseblock{s}.denselayer{n}.{kind}{i}",
    ),
    (r"transition(\d+)_(conv|norm)", lambda s, kind: f"features.transition{s}.{kind}"),
    ("final_norm", "features.norm5"),
    ("logits", "classifier"),
)
KERAS_RESNET: tuple[Rule, ...] = (
    ("stem_conv", "conv1_conv"),
    ("stem_norm", "conv1_bn"),
    (rf"{UNIT}_conv(\d)", lambda s, b, i: f"conv{s + 1}_block{b}_{i}_conv"),
    (rf"{UNIT}_norm(\d)", lambda s, b, i: f"conv{s + 1}_block{b}_{i}_bn"),
    (rf"{UNIT}_shortcut", lambda s, b: f"conv{s + 1}_block{b}_0_conv"),
    (rf"{UNIT}_shortcut_norm", lambda s, b: f"conv{s + 1}_block{b}_0_bn"),
    (rf"{UNIT}_pre_norm", lambda s, b: f"conv{s + 1}_block{b}_preact_bn"),
    ("final_norm", "post_bn"),
    ("logits", "predictions"),
)
KERAS_DENSENET: tuple[Rule, ...] = (
    ("stem_conv", "conv1_conv"),
    ("stem_norm", "conv1_bn"),
    (rf"{LAYER}_conv(\d)", lambda s, n, i: f"conv{s + 1}_block{n}_{i}_conv"),
    (rf"{LAYER}_norm(\d)", lambda s, n, i: f"conv{s + 1}_block{n}_{i - 1}_bn"),
    (r"transition(\d+)_norm", lambda s: f"pool{s + 1}_bn"),
    (r"transition(\d+)_conv", lambda s: f"pool{s + 1}_conv"),
    ("final_norm", "bn"),
    ("logits", "predictions"),
)
KERAS_VGG: tuple[Rule, ...] = (
    (r"stage(\d+)_conv(\d+)", lambda s, i: f"block{s}_conv{i}"),
    ("logits", "predictions"),
)


def renamed(name: str, rules: Sequence[Rule]) -> str:
    """Returns the other library's name of our layer ``name``; ``name`` if unknown."""
    for pattern, theirs in rules:
        match = re.fullmatch(pattern, name)
        if match:
            parts = (int(x) if x.isdigit() else x for x in match.groups())
            return theirs if isinstance(theirs, str) else theirs(*parts)
    return name
