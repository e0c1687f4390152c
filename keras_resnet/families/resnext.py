"""Defines ResNeXt: residual networks with aggregated transformations.

References:
    [1] Xie et al., "Aggregated Residual Transformations for Deep Neural Networks",
        CVPR 2017.
"""

from dataclasses import dataclass, replace
from functools import partial

from keras_resnet.errors import UsageError, require_choice, require_positive
from keras_resnet.families.branch import FORMS
from keras_resnet.families.ops import Conv
from keras_resnet.families.residual import Unit
from keras_resnet.families.resnet import ResNetSpec


@dataclass(frozen=True)
class ResNeXtSpec(ResNetSpec):
    """A residual network with grouped bottlenecks, as data.

    The inner convolutions of the first stage have ``cardinality · group_width``
    channels. A unit's output always has 4 times ``width`` channels ([1] table 1).

    Attributes:
        cardinality: Groups of the 3×3 convolutions, the paths of a unit (C).
        group_width: Channels of a group in the first stage (d).
        form: One of three equivalent layouts ([1] fig. 3), a key of ``FORMS``.
            ``keras_resnet.weights.transfer`` converts weights between them.
    """

    stride_at: str = "3x3"
    cardinality: int = 32
    group_width: int = 4
    form: str = "C"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "cardinality", "group_width")
        require_choice("form", self.form, FORMS)
        if self.unit != "bottleneck":
            raise UsageError(f"unit of a ResNeXt must be bottleneck, got {self.unit!r}")

    def _unit(self, width: int, stride: int) -> Unit:
        return replace(super()._unit(width, stride), form=self.form)

    def _branch(self, width: int, stride: int) -> tuple[Conv, ...]:
        first, second, last = super()._branch(width, stride)
        inner = self.cardinality * self.group_width * width // self.width
        return (
            replace(first, filters=inner),
            replace(second, filters=inner, groups=self.cardinality),
            last,
        )


_cifar = partial(ResNeXtSpec, (3, 3, 3), stem="cifar", group_width=64)

RESNEXTS = {
    # [1] tables 1 and 3
    "resnext50_32x4d": ResNeXtSpec((3, 4, 6, 3)),
    "resnext101_32x4d": ResNeXtSpec((3, 4, 23, 3)),
    "resnext101_64x4d": ResNeXtSpec((3, 4, 23, 3), cardinality=64),
    # Mahajan et al., 2018; torchvision
    "resnext101_32x8d": ResNeXtSpec((3, 4, 23, 3), group_width=8),
    # [1] section 5.3
    "resnext29_8x64d_cifar": _cifar(cardinality=8),
    "resnext29_16x64d_cifar": _cifar(cardinality=16),
}
