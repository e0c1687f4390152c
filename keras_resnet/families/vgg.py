"""Defines the VGG networks without and with batch normalisation.

References:
    [1] Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
        Recognition", ICLR 2015.
    [2] Ioffe & Szegedy, "Batch Normalization", ICML 2015.
"""

from dataclasses import dataclass, replace

from keras import KerasTensor, layers

from keras_resnet.errors import (
    require_depths,
    require_positive,
    require_rate,
    require_widths,
)
from keras_resnet.families.ops import (
    NORM_RELU,
    Conv,
    activate,
    conv,
    flatten,
    fully_connected,
    logits,
)
from keras_resnet.families.spec import Spec


@dataclass(frozen=True)
class VGGSpec(Spec):
    """A VGG network as data.

    Attributes:
        depths: Number of 3×3 convolutions in each stage; a 2×2 max-pool ends each stage
            ([1] table 1).
        widths: Channels of each stage.
        normalised: Whether batch normalisation follows every convolution ([2], not in
            [1]). As in torchvision, convolutions keep their biases, redundant with β.
        hidden: Units of each hidden fully connected layer.
        dropout: Dropout rate after each hidden layer, in [0, 1) ([1] section 3.1).
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    normalised: bool = False
    hidden: int = 4096
    dropout: float = 0.5

    def __post_init__(self) -> None:
        require_depths(self.depths, "convolution")
        require_widths(self.widths, len(self.depths))
        require_positive(self, "hidden")
        require_rate(self, "dropout")

    @property
    def smallest_side(self) -> int:
        """Side of the smallest supported input, which gives one feature pixel."""
        return int(2 ** len(self.depths))

    def features(self, x: KerasTensor) -> KerasTensor:
        """Maps images ``(N, H, W, C)`` to features ``(N, ⌊H/32⌋, ⌊W/32⌋, C')``."""
        steps = NORM_RELU if self.normalised else ("relu",)
        shape = zip(self.depths, self.widths, strict=True)
        for stage, (depth, width) in enumerate(shape, 1):
            for i in range(1, depth + 1):
                x = conv(x, Conv(width, 3, bias=True), name=f"stage{stage}_conv{i}")
                x = activate(x, steps, prefix=f"stage{stage}", suffix=str(i))
            x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
        return x

    def classifier(self, x: KerasTensor, classes: int) -> KerasTensor:
        """Maps features to logits ``(N, classes)``; for 0, to fc2 ``(N, hidden)``.

        Raises:
            UsageError: The height or width is not fixed (None).
        """
        x = flatten(x)
        for name in ("fc1", "fc2"):
            x = fully_connected(x, self.hidden, name=name)
            x = layers.Dropout(self.dropout, name=f"{name}_dropout")(x)
        return logits(x, classes)


_PLAIN = {
    "vgg11": VGGSpec((1, 1, 2, 2, 2)),  # [1] table 1, A
    "vgg13": VGGSpec((2, 2, 2, 2, 2)),  # B
    "vgg16": VGGSpec((2, 2, 3, 3, 3)),  # D
    "vgg19": VGGSpec((2, 2, 4, 4, 4)),  # E
}
VGGS = {
    **_PLAIN,
    **{f"{name}_bn": replace(spec, normalised=True) for name, spec in _PLAIN.items()},
}
