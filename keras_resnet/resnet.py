"""Residual networks of 2015 (v1) and 2016 (v2), one row each.

References:
    [1] He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
    [2] He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016.
"""

from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor

from keras_resnet.errors import UsageError
from keras_resnet.ops import NORM_RELU, activate, conv, head, max_pool
from keras_resnet.residual import ORDERS, SHORTCUTS, Conv, residual

UNITS = ("basic", "bottleneck")
STEMS = ("imagenet", "cifar")
EXPANSION = 4  # output channels of a bottleneck per channel of its width; [1] fig. 5


@dataclass(frozen=True)
class ResNetSpec:
    """A residual network as data.

    Attributes:
        depths: Residual units in each stage. Every stage but the first halves the
            size and doubles the width.
        unit: ``"basic"`` (two 3×3) or ``"bottleneck"`` (1×1, 3×3, 1×1); [1] fig. 5.
        width: Channels of the first stage's 3×3 convolutions.
        stem: ``"imagenet"`` (7×7, 64, stride 2, then 3×3 max-pool, stride 2; [1]
            table 1) or ``"cifar"`` (3×3, 16; [1] section 4.2).
        order: Where normalisation and ReLU stand, a key of ``ORDERS``; [2] fig. 4.
        shortcut: ``"A"``, ``"B"`` or ``"C"``; [1] section 3.3.
        stride_at: The convolution of a bottleneck that halves the size: ``"1x1"``, the
            first one ([1]) or ``"3x3"`` ("v1.5"; fb.resnet.torch).
    """

    depths: tuple[int, ...]
    unit: str = "bottleneck"
    width: int = 64
    stem: str = "imagenet"
    order: str = "original"
    shortcut: str = "B"
    stride_at: str = "1x1"

    def __post_init__(self) -> None:
        if not self.depths or any(type(d) is not int or d < 1 for d in self.depths):
            raise UsageError(
                f"depths must be one positive unit count a stage, got {self.depths}"
            )
        if self.width < 1:
            raise UsageError(f"width must be at least 1 channel, got {self.width}")
        _one_of("unit", self.unit, UNITS)
        _one_of("stem", self.stem, STEMS)
        _one_of("order", self.order, ORDERS)
        _one_of("shortcut", self.shortcut, SHORTCUTS)
        _one_of("stride_at", self.stride_at, ("1x1", "3x3"))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The paper's input, ``(H, W, C)``."""
        return (224, 224, 3) if self.stem == "imagenet" else (32, 32, 3)

    @property
    def classes(self) -> int:
        """The paper's number of classes."""
        return 1000 if self.stem == "imagenet" else 10

    @property
    def stride(self) -> int:
        """Pixels of the input per pixel of the features, the smallest input's side."""
        stem = 4 if self.stem == "imagenet" else 1
        return int(stem * 2 ** (len(self.depths) - 1))

    def features(self, x: KerasTensor) -> KerasTensor:
        """Maps images ``(N, H, W, C)`` to features ``(N, H/stride, W/stride, F)``.

        What stands before a branch stands after the last unit too, and the first unit
        takes the stem's activation as its own ([2], appendix: "special" first and last
        units).
        """
        order = ORDERS[self.order]
        x = self._stem(x)
        for stage, depth in enumerate(self.depths, 1):
            for block in range(1, depth + 1):
                first = stage == block == 1
                x = residual(
                    x,
                    self._branch(stage, stride=2 if stage > 1 and block == 1 else 1),
                    order=replace(order, before=()) if first else order,
                    shortcut=self.shortcut,
                    name=f"stage{stage}_block{block}",
                )
        return activate(x, order.before, prefix="final")

    def classifier(self, x: KerasTensor, classes: int) -> KerasTensor:
        """Maps features to logits ``(N, classes)``, or pooled features for 0."""
        return head(x, classes)

    def _stem(self, x: KerasTensor) -> KerasTensor:
        if self.stem == "cifar":
            x = conv(x, 16, 3, name="stem_conv")
            return activate(x, NORM_RELU, prefix="stem")
        x = conv(x, 64, 7, 2, name="stem_conv")
        x = activate(x, NORM_RELU, prefix="stem")
        return max_pool(x, 3, 2, name="stem_pool")

    def _branch(self, stage: int, stride: int) -> tuple[Conv, ...]:
        width = self.width * 2 ** (stage - 1)
        if self.unit == "basic":
            return Conv(width, 3, stride), Conv(width, 3)
        strides = (stride, 1) if self.stride_at == "1x1" else (1, stride)
        return (
            Conv(width, 1, strides[0]),
            Conv(width, 3, strides[1]),
            Conv(EXPANSION * width, 1),
        )


def _one_of(field: str, value: str, choices: object) -> None:
    names = list(choices)  # type: ignore[call-overload]
    if value not in names:
        raise UsageError(f"{field} must be one of {', '.join(names)}, got {value!r}")


_v1_5 = partial(ResNetSpec, stride_at="3x3")
_v2 = partial(ResNetSpec, stride_at="3x3", order="full_preactivation")
_cifar = partial(ResNetSpec, unit="basic", width=16, stem="cifar", shortcut="A")
_cifar_bottleneck = partial(ResNetSpec, width=16, stem="cifar")

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
    # [2] table 5; the units are fb.resnet.torch's preresnet.lua
    "resnet50_v2": _v2((3, 4, 6, 3)),
    "resnet101_v2": _v2((3, 4, 23, 3)),
    "resnet152_v2": _v2((3, 8, 36, 3)),
    "resnet200_v2": _v2((3, 24, 36, 3)),
    # [1] section 4.2: 6n + 2 layers
    "resnet20_cifar": _cifar((3, 3, 3)),
    "resnet32_cifar": _cifar((5, 5, 5)),
    "resnet44_cifar": _cifar((7, 7, 7)),
    "resnet56_cifar": _cifar((9, 9, 9)),
    "resnet110_cifar": _cifar((18, 18, 18)),
    # [2] section 3.1 and table 3: 9n + 2 layers
    "resnet164_cifar": _cifar_bottleneck((18, 18, 18)),
}
