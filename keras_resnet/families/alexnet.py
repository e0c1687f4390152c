"""AlexNet with two towers (2012) and with one (2014), one row each.

Windows of 11 pixels every 4 from a 224-pixel image give the papers' 55×55 maps only
with padding, which [1] leaves unsaid: here 2 zeros on every side, as in [2]'s code and
torchvision. (Caffe crops 227 pixels and pads nothing.)

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
POOLED = (1, 2, 5)  # convolutions that a max-pool follows; [1] section 3.5
NORMALISED = (1, 2)  # convolutions that a response normalisation follows; likewise


@dataclass(frozen=True)
class AlexNetSpec(Spec):
    """An AlexNet as data.

    Attributes:
        widths: Channels of the five convolutions.
        towers: Groups of the second, fourth and fifth convolution; the third connects
            all of the towers' maps ([1] fig. 2).
        local_response: Whether responses are normalised after the first and second
            convolution ([1] section 3.3).
        hidden: Units of each hidden fully connected layer.
        dropout: Rate in the two hidden layers.
        dropout_at: Whether it drops their ``"outputs"`` ([1] section 4.2) or their
            ``"inputs"`` (torchvision).
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
        """The side of the smallest input, in pixels, of which pooling leaves one."""
        return 63

    def features(self, x: KerasTensor) -> KerasTensor:
        """Maps images ``(N, H, W, C)`` to features, ``(N, 6, 6, C')`` for 224×224."""
        # Normalisation takes back what the max-pools add to the signal; without it,
        # one kept at its size from convolution to convolution would grow too large.
        fan = "fan_in" if self.local_response else "fan_out"
        for i, c in enumerate(self._convolutions(), 1):
            x = conv_relu(x, c, name=f"conv{i}", fan=fan)
            if self.local_response and i in NORMALISED:
                x = LocalResponseNormalization(name=f"conv{i}_lrn")(x)
            if i in POOLED:
                x = layers.MaxPooling2D(3, 2, name=f"conv{i}_pool")(x)
        return x

    def classifier(self, x: KerasTensor, classes: int) -> KerasTensor:
        """Maps features to logits ``(N, classes)``, or to fc7 ``(N, hidden)`` for 0.

        Raises:
            UsageError: The height or width is open (None).
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
