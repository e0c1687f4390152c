"""Maps layer names of these networks to the names in other libraries, by rules.

A rule is a pattern for a layer's name in this library, and the other library's name as
a function of the numbers in it.
"""

import re
from collections.abc import Callable, Sequence

Rule = tuple[str, str | Callable[..., str]]

TORCH_RESNET: tuple[Rule, ...] = (
    ("stem_conv", "conv1"),
    ("stem_norm", "bn1"),
    (r"stage(\d+)_block(\d+)_conv(\d)", lambda s, b, i: f"layer{s}.{b - 1}.conv{i}"),
    (r"stage(\d+)_block(\d+)_norm(\d)", lambda s, b, i: f"layer{s}.{b - 1}.bn{i}"),
    (
        r"stage(\d+)_block(\d+)_shortcut",
        lambda s, b: f"layer{s}.{b - 1}.downsample.0",
    ),
    (
        r"stage(\d+)_block(\d+)_shortcut_norm",
        lambda s, b: f"layer{s}.{b - 1}.downsample.1",
    ),
    ("logits", "fc"),
)
TORCH_DENSENET: tuple[Rule, ...] = (
    ("stem_conv", "features.conv0"),
    ("stem_norm", "features.norm0"),
    (
        r"stage(\d+)_layer(\d+)_conv(\d)",
        lambda s, n, i: f"features.denseblock{s}.denselayer{n}.conv{i}",
    ),
    (
        r"stage(\d+)_layer(\d+)_norm(\d)",
        lambda s, n, i: f"features.denseblock{s}.denselayer{n}.norm{i}",
    ),
    (r"transition(\d+)_norm", lambda s: f"features.transition{s}.norm"),
    (r"transition(\d+)_conv", lambda s: f"features.transition{s}.conv"),
    ("final_norm", "features.norm5"),
    ("logits", "classifier"),
)
KERAS_RESNET: tuple[Rule, ...] = (
    ("stem_conv", "conv1_conv"),
    ("stem_norm", "conv1_bn"),
    (
        r"stage(\d+)_block(\d+)_conv(\d)",
        lambda s, b, i: f"conv{s + 1}_block{b}_{i}_conv",
    ),
    (r"stage(\d+)_block(\d+)_norm(\d)", lambda s, b, i: f"conv{s + 1}_block{b}_{i}_bn"),
    (r"stage(\d+)_block(\d+)_shortcut", lambda s, b: f"conv{s + 1}_block{b}_0_conv"),
    (r"stage(\d+)_block(\d+)_shortcut_norm", lambda s, b: f"conv{s + 1}_block{b}_0_bn"),
    (r"stage(\d+)_block(\d+)_pre_norm", lambda s, b: f"conv{s + 1}_block{b}_preact_bn"),
    ("final_norm", "post_bn"),
    ("logits", "predictions"),
)
KERAS_DENSENET: tuple[Rule, ...] = (
    ("stem_conv", "conv1_conv"),
    ("stem_norm", "conv1_bn"),
    (
        r"stage(\d+)_layer(\d+)_conv(\d)",
        lambda s, n, i: f"conv{s + 1}_block{n}_{i}_conv",
    ),
    (
        r"stage(\d+)_layer(\d+)_norm(\d)",
        lambda s, n, i: f"conv{s + 1}_block{n}_{i - 1}_bn",
    ),
    (r"transition(\d+)_norm", lambda s: f"pool{s + 1}_bn"),
    (r"transition(\d+)_conv", lambda s: f"pool{s + 1}_conv"),
    ("final_norm", "bn"),
    ("logits", "predictions"),
)
KERAS_VGG: tuple[Rule, ...] = (
    (r"stage(\d+)_conv(\d+)", lambda s, i: f"block{s}_conv{i}"),
    ("fc1", "fc1"),
    ("fc2", "fc2"),
    ("logits", "predictions"),
)


def renamed(name: str, rules: Sequence[Rule]) -> str:
    """Returns the other library's name of our layer ``name``; ``name`` if unknown."""
    for pattern, theirs in rules:
        match = re.fullmatch(pattern, name)
        if match:
            numbers = [int(number) for number in match.groups()]
            return theirs if isinstance(theirs, str) else theirs(*numbers)
    return name
