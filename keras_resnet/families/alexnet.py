"""Defines AlexNet with two towers (2012) and with one tower (2014).

An 11×11 convolution of stride 4 maps a 224-pixel image to the papers' 55×55 maps only
with padding, which [1] does not mention. This network pads 2 zeros on every side, as
[2]'s code and torchvision do. (Caffe crops 227 pixels and does not pad.)

References:
    [1] Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural
        Networks", NIPS 2012.
    [2] Krizhevsky, "One weird trick for parallelizing convolutional neural networks",
        2014.
"""

from dataclasses import dataclass

from keras import KerasTensor, layers

from keras_resnet.errors import (
    UsageError,
    require_choice,
    require_positive,
    require_rate,
    require_widths,
)
from keras_resnet.families.ops import Conv, conv_relu, flatten, fully_connected, logits
from keras_resnet.families.spec import Spec
from keras_resnet.layers import LocalResponseNormalization

DROPOUTS = ("outputs", "inputs")
POOLED = (1, 2, 5)  # convolutions followed by a max-pool; [1] section 3.5
NORMALISED = (1, 2)  # convolutions followed by response normalisation; same section


@dataclass(frozen=True)
class AlexNetSpec(Spec):
    """An AlexNet as data.

    Attributes:
        widths: Channels of the five convolutions.
        towers: Groups of the second, fourth and fifth convolution; the third connects
            the maps of all towers ([1] fig. 2).
        local_response: Whether local response normalisation follows the first and
            second convolution ([1] section 3.3).
        hidden: Units of each hidden fully connected layer.
        dropout: Dropout rate of the two hidden layers, in [0, 1).
        dropout_at: Whether dropout applies to their ``"outputs"`` ([1] section 4.2) or
            their ``"inputs"`` (torchvision).
    """

    widths: tuple[int, ...] = (96, 256, 384, 384, 256)
    towers: int = 2
    local_response: bool = True
    hidden: int = 4096
    dropout: float = 0.5
    dropout_at: str = "outputs"

    def __post_init__(self) -> None:
        require_widths(self.widths, 5)
        require_positive(self, "towers", "hidden")
        require_rate(self, "dropout")
        require_choice("dropout_at", self.dropout_at, DROPOUTS)
        if any(width % self.towers for width in self.widths):
            raise UsageError(
                f"widths must be multiples of the number of towers, {self.towers}, got "
                f"{self.widths}"
            )

    @property
    def smallest_side(self) -> int:
        """Side of the smallest supported input, which pooling reduces to one pixel."""
        return 63

    def features(self, x: KerasTensor) -> KerasTensor:
        """Maps images ``(N, H, W, C)`` to features, ``(N, 6, 6, C')`` for 224×224."""
        # Response normalisation cancels the growth of the signal in the max-pools.
        # Without it, an initialisation that keeps the signal's size grows too large.
        fan = "fan_in" if self.local_response else "fan_out"
        for i, c in enumerate(self._convolutions(), 1):
            x = conv_relu(x, c, name=f"conv{i}", fan=fan)
            if self.local_response and i in NORMALISED:
                x = LocalResponseNormalization(name=f"conv{i}_lrn")(x)
            if i in POOLED:
                x = layers.MaxPooling2D(3, 2, name=f"conv{i}_pool")(x)
        return x

    def classifier(self, x: KerasTensor, classes: int) -> KerasTensor:
        """Maps features to logits ``(N, classes)``; for 0, to fc7 ``(N, hidden)``.

        Raises:
            UsageError: The height or width is not fixed (None).
        """
        x = flatten(x)
        for name in ("fc6", "fc7"):
            drop = layers.Dropout(self.dropout, name=f"{name}_dropout")
            if self.dropout_at == "inputs":
                x = fully_connected(drop(x), self.hidden, name=name)
            else:
                x = drop(fully_connected(x, self.hidden, name=name))
        return logits(x, classes)

    def _convolutions(self) -> tuple[Conv, ...]:
        one, two, three, four, five = self.widths
        return (
            Conv(one, 11, 4, bias=True, padding=2),
            Conv(two, 5, groups=self.towers, bias=True),
            Conv(three, 3, bias=True),
            Conv(four, 3, groups=self.towers, bias=True),
            Conv(five, 3, groups=self.towers, bias=True),
        )


ALEXNETS = {
    "alexnet": AlexNetSpec(),  # [1] section 3.5
    "alexnet_one_tower": AlexNetSpec(  # [2]; torchvision
        widths=(64, 192, 384, 256, 256),
        towers=1,
        local_response=False,
        dropout_at="inputs",
    ),
}
