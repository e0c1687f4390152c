"""Defines the densely connected networks (DenseNet).

References:
    [1] Huang et al., "Densely Connected Convolutional Networks", CVPR 2017, and the
        authors' code (liuzhuang13/DenseNet).
    [2] Pleiss et al., "Memory-Efficient Implementation of DenseNets", 2017.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from keras import KerasTensor, layers

from keras_resnet.errors import (
    UsageError,
    require_choice,
    require_depths,
    require_positive,
    require_rate,
)
from keras_resnet.families.ops import NORM_RELU, Conv, activate, conv, stem_pool
from keras_resnet.families.spec import StagedSpec
from keras_resnet.layers import Recomputed, branch_model

STEMS = ("imagenet", "cifar")


@dataclass(frozen=True)
class DenseNetSpec(StagedSpec):
    """A DenseNet as data: x_l = H_l([x_0, …, x_{l−1}]) within each stage.

    Attributes:
        depths: Number of layers in each stage (dense block). A transition between two
            stages halves the size.
        growth_rate: Channels that a layer adds, k in the paper.
        bottleneck: Channels of the 1×1 convolution before a layer's 3×3, in multiples
            of ``growth_rate``; 0 for none. (DenseNet-B: 4.)
        compression: Fraction θ ≤ 1 of channels kept by a transition. (DenseNet-C: 0.5.)
        stem: ``"imagenet"`` (7×7, stride 2, then 3×3 max-pool, stride 2; [1] table 1)
            or ``"cifar"`` (3×3; [1] section 3).
        stem_width: Channels of the stem.
        dropout: Fraction of each layer's output that training sets to 0; [1] section 3
            uses 0.2 without augmentation.
        memory_efficient: Whether training recomputes concatenation, normalisation and
            ReLU in the backward pass ([2]): less memory, more time, and the same
            outputs, gradients and weights.
    """

    depths: tuple[int, ...]
    growth_rate: int = 32
    bottleneck: int = 4
    compression: float = 0.5
    stem: str = "imagenet"
    stem_width: int = 64
    dropout: float = 0.0
    memory_efficient: bool = False

    def __post_init__(self) -> None:
        require_depths(self.depths, "layer")
        require_positive(self, "growth_rate", "stem_width")
        require_choice("stem", self.stem, STEMS)
        if self.bottleneck < 0:
            raise UsageError(f"bottleneck must be at least 0, got {self.bottleneck}")
        if not 0 < self.compression <= 1:
            raise UsageError(
                "compression must be greater than 0 and at most 1, got "
                f"{self.compression}"
            )
        require_rate(self, "dropout")

    @property
    def for_cifar(self) -> bool:
        """Whether the paper trains the network on CIFAR-10."""
        return self.stem == "cifar"

    def features(self, x: KerasTensor) -> KerasTensor:
        """Maps images ``(N, H, W, C)`` to features ``(N, ⌊H/s⌋, ⌊W/s⌋, F)``.

        The stride s is ``smallest_side``.
        """
        x = self._stem(x)
        for stage, depth in enumerate(self.depths, 1):
            x = self._stage(x, depth, name=f"stage{stage}")
            if stage < len(self.depths):
                x = self._transition(x, name=f"transition{stage}")
        return activate(x, NORM_RELU, prefix="final")

    def _stem(self, x: KerasTensor) -> KerasTensor:
        if self.stem == "cifar":
            return conv(x, Conv(self.stem_width, 3), name="stem_conv")
        x = conv(x, Conv(self.stem_width, 7, 2), name="stem_conv")
        return stem_pool(activate(x, NORM_RELU, prefix="stem"))

    def _stage(self, x: KerasTensor, depth: int, *, name: str) -> KerasTensor:
        """Applies a dense block; every layer reads the outputs of all earlier ones."""
        outputs = [x]
        for layer in range(1, depth + 1):
            outputs.append(self._layer(outputs, name=f"{name}_layer{layer}"))
            if not self.memory_efficient:  # share one tensor among all later layers
                outputs = [_joined(outputs, name=f"{name}_layer{layer}_concat")]
        return _joined(outputs, name=f"{name}_concat")

    def _layer(self, x: list[KerasTensor], *, name: str) -> KerasTensor:
        """Applies H: norm, ReLU, conv; twice with a bottleneck ([1] section 3)."""
        convs = [Conv(self.growth_rate, 3)]
        if self.bottleneck:
            convs.insert(0, Conv(self.bottleneck * self.growth_rate, 1))
        for i, c in enumerate(convs, 1):
            y = self._convolved(x, c, name=name, suffix=str(i))
            if self.dropout:
                y = layers.Dropout(self.dropout, name=f"{name}_dropout{i}")(y)
            x = [y]
        return y

    def _transition(self, x: KerasTensor, *, name: str) -> KerasTensor:
        """Applies norm, ReLU, 1×1 convolution, 2×2 average pooling; [1] section 3."""
        filters = max(1, int(self.compression * x.shape[-1]))
        x = self._convolved([x], Conv(filters, 1), name=name)
        if self.dropout:
            x = layers.Dropout(self.dropout, name=f"{name}_dropout")(x)
        return layers.AveragePooling2D(2, name=f"{name}_pool")(x)

    def _convolved(
        self, inputs: list[KerasTensor], c: Conv, *, name: str, suffix: str = ""
    ) -> KerasTensor:
        """Applies concatenation, norm, ReLU and convolution."""

        def computed(*inputs: KerasTensor) -> KerasTensor:
            x = _joined(inputs, name=f"{name}_concat{suffix}")
            x = activate(x, NORM_RELU, prefix=name, suffix=suffix)
            return conv(x, c, name=f"{name}_conv{suffix}")

        if not self.memory_efficient:
            return computed(*inputs)
        model = branch_model(computed, inputs, name=f"{name}_branch{suffix}")
        return Recomputed(model, name=f"{name}_recomputed{suffix}")(inputs)


def _joined(inputs: Sequence[KerasTensor], *, name: str) -> KerasTensor:
    if len(inputs) == 1:
        return inputs[0]
    return layers.Concatenate(name=name)(list(inputs))


_cifar = partial(
    DenseNetSpec, stem="cifar", stem_width=16, bottleneck=0, compression=1.0
)
_cifar_bc = partial(DenseNetSpec, stem="cifar")

DENSENETS = {
    # [1] table 1
    "densenet121": DenseNetSpec((6, 12, 24, 16)),
    "densenet161": DenseNetSpec((6, 12, 36, 24), 48, stem_width=96),
    "densenet169": DenseNetSpec((6, 12, 32, 32)),
    "densenet201": DenseNetSpec((6, 12, 48, 32)),
    # [1] table 2: 3n + 4 layers, or 6n + 4 with bottlenecks and a stem of 2k channels
    "densenet40_k12_cifar": _cifar((12, 12, 12), 12),
    "densenet100_k12_cifar": _cifar((32, 32, 32), 12),
    "densenet100_k24_cifar": _cifar((32, 32, 32), 24),
    "densenetbc100_k12_cifar": _cifar_bc((16, 16, 16), 12, stem_width=24),
    "densenetbc190_k40_cifar": _cifar_bc((31, 31, 31), 40, stem_width=80),
    "densenetbc250_k24_cifar": _cifar_bc((41, 41, 41), 24, stem_width=48),
}
