"""Defines the residual networks of 2015 (v1) and 2016 (v2), and plain networks.

References:
    [1] He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
    [2] He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016.
    [3] Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016.
"""

from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor, layers

from keras_resnet.errors import (
    UsageError,
    require_choice,
    require_depths,
    require_positive,
)
from keras_resnet.families.branch import ORDERS
from keras_resnet.families.ops import NORM_RELU, Conv, activate, conv, stem_pool
from keras_resnet.families.residual import SHORTCUTS, SKIPS, Unit, residual
from keras_resnet.families.spec import StagedSpec
from keras_resnet.layers import DROP_MODES

UNITS = ("basic", "bottleneck")
STEMS = ("imagenet", "cifar", "pool_first")
EXPANSION = 4  # output channels of a bottleneck per channel of its width; [1] fig. 5


@dataclass(frozen=True)
class ResNetSpec(StagedSpec):
    """A residual network as data.

    Attributes:
        depths: Number of residual units in each stage. Every stage after the first
            doubles the width.
        unit: ``"basic"`` (two 3×3) or ``"bottleneck"`` (1×1, 3×3, 1×1); [1] fig. 5.
        width: Channels of the first stage's 3×3 convolutions.
        stem: ``"imagenet"`` (7×7, stride 2, then 3×3 max-pool, stride 2; [1] table
            1), ``"cifar"`` (3×3; [1] section 4.2) or ``"pool_first"`` (7×7 with a
            bias, pooled before the first normalisation; TF-slim's ResNet v2).
        stem_width: Channels of the stem's convolution.
        order: The positions of normalisation and ReLU, a key of ``ORDERS``; [2] fig. 4.
        shortcut: ``"A"``, ``"B"`` or ``"C"``; [1] section 3.3. ``"A_pooled"`` is A with
            average pooling where the size changes ([3], the authors' code). ``"none"``
            removes all shortcuts, which gives a plain network.
        skip: The other operations on the shortcut, a key of ``SKIPS``; [2] fig. 2.
        stride_at: The convolution of a bottleneck that halves the size: ``"1x1"``, the
            first one ([1]), or ``"3x3"`` ("v1.5"; fb.resnet.torch).
        halve_in: The unit that halves the size: the ``"first"`` of every stage but the
            first ([1]) or the ``"last"`` of every stage but the last (TF-slim's v2).
        survival: p_L in (0, 1], the probability that the last unit's branch survives a
            training step; unit l of L has 1 − l/L·(1 − p_L) ([3] eq. 4).
        drop_mode: Whether to draw survival once per ``"batch"`` ([3]) or per
            ``"sample"``.
    """

    depths: tuple[int, ...]
    unit: str = "bottleneck"
    width: int = 64
    stem: str = "imagenet"
    stem_width: int = 64
    order: str = "original"
    shortcut: str = "B"
    skip: str = "identity"
    stride_at: str = "1x1"
    halve_in: str = "first"
    survival: float = 1.0
    drop_mode: str = "batch"

    def __post_init__(self) -> None:
        require_depths(self.depths, "unit")
        require_positive(self, "width", "stem_width")
        for field, choices in _CHOICES.items():
            require_choice(field, getattr(self, field), choices)
        if not 0 < self.survival <= 1:
            raise UsageError(
                "survival must be a probability greater than 0 and at most 1, got "
                f"{self.survival}"
            )
        if self.shortcut == "none" and (self.skip, self.survival) != ("identity", 1):
            raise UsageError(
                "a network without shortcuts (shortcut 'none') must have skip "
                f"'identity' and survival 1, got {self.skip!r} and {self.survival}"
            )

    @property
    def for_cifar(self) -> bool:
        """Whether the paper trains the network on CIFAR-10."""
        return self.stem == "cifar"

    def features(self, x: KerasTensor) -> KerasTensor:
        """Maps images ``(N, H, W, C)`` to features ``(N, ⌈H/s⌉, ⌈W/s⌉, F)``.

        The stride s of the whole network is ``smallest_side``.

        The activation before a branch is repeated after the last unit, and the first
        unit uses the stem's activation as its own ([2], appendix: "special" first and
        last units).
        """
        x = self._stem(x)
        units = self._units()
        if self.stem != "pool_first":
            (name, first), *others = units
            first = replace(first, order=replace(first.order, before=()))
            units = [(name, first), *others]
        for name, unit in units:
            x = residual(x, unit, name=name)
        return activate(x, ORDERS[self.order].before, prefix="final")

    def _stem(self, x: KerasTensor) -> KerasTensor:
        if self.stem == "pool_first":
            x = conv(x, Conv(self.stem_width, 7, 2, bias=True), name="stem_conv")
            x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
            return layers.MaxPooling2D(3, 2, name="stem_pool")(x)
        large = self.stem == "imagenet"
        c = Conv(self.stem_width, 7, 2) if large else Conv(self.stem_width, 3)
        x = activate(conv(x, c, name="stem_conv"), NORM_RELU, prefix="stem")
        return stem_pool(x) if large else x

    def _units(self) -> list[tuple[str, Unit]]:
        """Returns the units in order, each with its name."""
        units: list[tuple[str, Unit]] = []
        for stage, depth in enumerate(self.depths, 1):
            width = self.width * 2 ** (stage - 1)
            for block in range(1, depth + 1):
                stride = 2 if self._halves(stage, block) else 1
                survival = 1 - (len(units) + 1) / sum(self.depths) * (1 - self.survival)
                unit = self._unit(width, stride)
                unit = replace(unit, survival=survival)
                units.append((f"stage{stage}_block{block}", unit))
        return units

    def _halves(self, stage: int, block: int) -> bool:
        if self.halve_in == "first":
            return stage > 1 and block == 1
        return stage < len(self.depths) and block == self.depths[stage - 1]

    def _unit(self, width: int, stride: int) -> Unit:
        return Unit(
            self._branch(width, stride),
            ORDERS[self.order],
            shortcut=self.shortcut,
            skip=SKIPS[self.skip],
            drop_mode=self.drop_mode,
        )

    def _branch(self, width: int, stride: int) -> tuple[Conv, ...]:
        if self.unit == "basic":
            return Conv(width, 3, stride), Conv(width, 3)
        first, second = (stride, 1) if self.stride_at == "1x1" else (1, stride)
        return (
            Conv(width, 1, first),
            Conv(width, 3, second),
            Conv(EXPANSION * width, 1),
        )


_CHOICES = {
    "unit": UNITS,
    "stem": STEMS,
    "order": ORDERS,
    "shortcut": SHORTCUTS,
    "skip": SKIPS,
    "stride_at": ("1x1", "3x3"),
    "halve_in": ("first", "last"),
    "drop_mode": DROP_MODES,
}

_v1_5 = partial(ResNetSpec, stride_at="3x3")
_v2 = partial(_v1_5, order="full_preactivation")
_v2_keras = partial(_v2, stem="pool_first", halve_in="last")
_cifar = partial(ResNetSpec, width=16, stem="cifar", stem_width=16)
_cifar_basic = partial(_cifar, unit="basic", shortcut="A")
_stochastic = partial(_cifar_basic, shortcut="A_pooled", survival=0.5)

RESNETS = {
    # [1] table 1
    "resnet18": ResNetSpec((2, 2, 2, 2), "basic"),
    "resnet34": ResNetSpec((3, 4, 6, 3), "basic"),
    "resnet50": ResNetSpec((3, 4, 6, 3)),
    "resnet101": ResNetSpec((3, 4, 23, 3)),
    "resnet152": ResNetSpec((3, 8, 36, 3)),
    # fb.resnet.torch, torchvision
    "resnet50_v1_5": _v1_5((3, 4, 6, 3)),
    "resnet101_v1_5": _v1_5((3, 4, 23, 3)),
    "resnet152_v1_5": _v1_5((3, 8, 36, 3)),
    # [2] table 5; units as in fb.resnet.torch's preresnet.lua
    "resnet50_v2": _v2((3, 4, 6, 3)),
    "resnet101_v2": _v2((3, 4, 23, 3)),
    "resnet152_v2": _v2((3, 8, 36, 3)),
    "resnet200_v2": _v2((3, 24, 36, 3)),
    # keras.applications, whose weights come from TF-slim
    "resnet50_v2_keras": _v2_keras((3, 4, 6, 3)),
    "resnet101_v2_keras": _v2_keras((3, 4, 23, 3)),
    "resnet152_v2_keras": _v2_keras((3, 8, 36, 3)),
    # [1] section 4.2: 6n + 2 layers
    "resnet20_cifar": _cifar_basic((3, 3, 3)),
    "resnet32_cifar": _cifar_basic((5, 5, 5)),
    "resnet44_cifar": _cifar_basic((7, 7, 7)),
    "resnet56_cifar": _cifar_basic((9, 9, 9)),
    "resnet110_cifar": _cifar_basic((18, 18, 18)),
    "resnet1202_cifar": _cifar_basic((200, 200, 200)),
    # [2] section 3.1 and table 3: 9n + 2 layers, resnet110_v2 6n + 2; v2 as in the
    # authors' resnet-1k-layers
    "resnet164_cifar": _cifar((18, 18, 18)),
    "resnet110_v2_cifar": _cifar_basic((18, 18, 18), order="full_preactivation"),
    "resnet164_v2_cifar": _cifar((18, 18, 18), order="full_preactivation"),
    "resnet1001_v2_cifar": _cifar((111, 111, 111), order="full_preactivation"),
    # [3] section 4; shortcuts as in the authors' ResidualDrop.lua
    "resnet110_sd_cifar": _stochastic((18, 18, 18)),
    "resnet1202_sd_cifar": _stochastic((200, 200, 200)),
}

# [1] sections 3.3 and 4: residual networks of basic units without their shortcuts
PLAINS = {
    name.replace("resnet", "plain"): replace(RESNETS[name], shortcut="none")
    for name in (
        "resnet18",
        "resnet34",
        "resnet20_cifar",
        "resnet32_cifar",
        "resnet44_cifar",
        "resnet56_cifar",
        "resnet110_cifar",
    )
}
