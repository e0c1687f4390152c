"""Defines Highway networks on the CIFAR topology of the residual networks.

References:
    [1] Srivastava et al., "Highway Networks", 2015.
    [2] He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
"""

from dataclasses import dataclass

from keras import KerasTensor

from keras_resnet.errors import require_depths, require_positive
from keras_resnet.families.branch import Order
from keras_resnet.families.ops import NORM_RELU, Conv, activate, conv
from keras_resnet.families.residual import ShortcutKind, Unit, residual
from keras_resnet.families.spec import StagedSpec

# H is a layer of the plain network: convolution, normalisation, ReLU.
H = Order((), (), after=NORM_RELU, after_addition=())


@dataclass(frozen=True)
class HighwaySpec(StagedSpec):
    """A Highway network as data: ``y = T(x)·H(x) + (1 − T(x))·x`` in every layer.

    H is a layer of the plain CIFAR network ([2] section 4.2). The transform gate T is a
    convolution of the same kernel size with a sigmoid ([1] section 2.1). A layer that
    changes the shape is a plain layer without gates ([1] section 2.1).

    Attributes:
        depths: Number of layers in each stage. Every stage after the first halves the
            size and doubles the width.
        width: Channels of the first stage.
        gate_bias: Initial bias of the transform gates; a negative value makes a fresh
            network pass its input through ([1] section 2.2).
    """

    depths: tuple[int, ...]
    width: int = 16
    gate_bias: float = -2.0

    def __post_init__(self) -> None:
        require_depths(self.depths, "layer")
        require_positive(self, "width")

    @property
    def for_cifar(self) -> bool:
        """Always true: the topology is that of the CIFAR networks."""
        return True

    def features(self, x: KerasTensor) -> KerasTensor:
        """Maps images ``(N, H, W, C)`` to features ``(N, ⌈H/s⌉, ⌈W/s⌉, F)``.

        The stride s is ``smallest_side``.
        """
        x = conv(x, Conv(self.width, 3), name="stem_conv")
        x = activate(x, NORM_RELU, prefix="stem")
        gates = ShortcutKind(gate_bias=self.gate_bias, gate_kernel=3, gates_branch=True)
        for stage, depth in enumerate(self.depths, 1):
            width = self.width * 2 ** (stage - 1)
            for block in range(1, depth + 1):
                if stage > 1 and block == 1:
                    unit = Unit((Conv(width, 3, 2),), H, shortcut="none")
                else:
                    unit = Unit((Conv(width, 3),), H, skip=gates)
                x = residual(x, unit, name=f"stage{stage}_block{block}")
        return x


HIGHWAYS = {  # 6n + 2 layers
    "highway20_cifar": HighwaySpec((6, 6, 6)),
    "highway32_cifar": HighwaySpec((10, 10, 10)),
    "highway56_cifar": HighwaySpec((18, 18, 18)),
    "highway110_cifar": HighwaySpec((36, 36, 36)),
}
