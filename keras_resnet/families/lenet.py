"""Defines LeNet-5 with everything that its paper describes up to F6.

It keeps these parts of the paper, which later versions simplify: the coefficient, bias
and squashing of each subsampled map (not a plain average or maximum), the partial
connections of C3 (table I; not all maps to all), the scaled hyperbolic tangent (not
ReLU), and C5 as a convolution.
It follows later versions in two points: the output is a linear layer trained with
softmax cross entropy, not Euclidean radial basis functions to fixed 7×12 bitmaps with
the paper's eq. 9; and weights are drawn as in [2], not uniformly within ±2.4 / fan-in.
The paper centres its 28×28 digits in 32×32 pixels; ``padding=2`` does the same.

References:
    [1] LeCun et al., "Gradient-Based Learning Applied to Document Recognition",
        Proceedings of the IEEE, 1998.
    [2] LeCun et al., "Efficient BackProp", 1998.
"""

from dataclasses import dataclass

import keras
from keras import KerasTensor, layers

from keras_resnet.errors import UsageError, require_positive
from keras_resnet.families.ops import Conv, conv, flatten, logits
from keras_resnet.families.spec import Spec
from keras_resnet.layers import TableConv2D
from keras_resnet.layers.registry import register

# [1] table I: for each of the 16 maps of C3, the connected maps of S2, from 0
TABLE_I = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5)),
    *((0, 1, 2, 5), (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)
SIDE = 32  # pixels of the input, which C5 reduces to one


@register
def scaled_tanh(x: KerasTensor) -> KerasTensor:
    """Returns ``1.7159 · tanh(2x / 3)``: ±1 for ±1; [1] section II.B, appendix A."""
    return 1.7159 * keras.ops.tanh(x * (2 / 3))


@dataclass(frozen=True)
class LeNetSpec(Spec):
    """LeNet-5 as data.

    Attributes:
        maps: Feature maps of C1 and S2.
        connections: For each map of C3, the connected maps of S2, from 0.
        deep: Feature maps of C5.
        hidden: Units of F6.
        padding: Zeros around the image on every side, in pixels.
    """

    maps: int = 6
    connections: tuple[tuple[int, ...], ...] = TABLE_I
    deep: int = 120
    hidden: int = 84
    padding: int = 0

    def __post_init__(self) -> None:
        require_positive(self, "maps", "deep", "hidden")
        if not (self.connections and all(map(self._is_known, self.connections))):
            raise UsageError(
                "connections must list distinct maps from 0 to "
                f"{self.maps - 1} for every filter, got {self.connections}"
            )
        if not 0 <= self.padding < SIDE // 2:
            raise UsageError(
                f"padding must be from 0 to {SIDE // 2 - 1} pixels, got {self.padding}"
            )

    def _is_known(self, inputs: object) -> bool:
        if not (isinstance(inputs, tuple | list) and inputs):
            return False
        return set(inputs) <= set(range(self.maps)) and len(set(inputs)) == len(inputs)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Input shape in the paper, ``(H, W, C)``, without the padding."""
        return (self.smallest_side, self.smallest_side, 1)

    @property
    def classes(self) -> int:
        """Number of digits, 10."""
        return 10

    @property
    def smallest_side(self) -> int:
        """Side of the smallest supported input, in pixels."""
        return SIDE - 2 * self.padding

    def features(self, x: KerasTensor) -> KerasTensor:
        """Maps images ``(N, H, W, C)`` to C5, ``(N, 1, 1, deep)`` for 32×32 pixels."""
        x = _convolve(x, Conv(self.maps, 5, bias=True, padding=self.padding), name="c1")
        x = _subsample(x, name="s2")
        c3 = TableConv2D(
            self.connections, 5, kernel_initializer=_initializer(), name="c3"
        )
        x = _squash(c3(x), name="c3")
        x = _subsample(x, name="s4")
        return _convolve(x, Conv(self.deep, 5, bias=True, padding=0), name="c5")

    def classifier(self, x: KerasTensor, classes: int) -> KerasTensor:
        """Maps C5 to logits ``(N, classes)``; for 0, to F6 ``(N, hidden)``.

        Raises:
            UsageError: The height or width is not fixed (None).
        """
        f6 = layers.Dense(self.hidden, kernel_initializer=_initializer(), name="f6")
        return logits(_squash(f6(flatten(x)), name="f6"), classes)


def _initializer() -> keras.initializers.Initializer:
    """Returns a normal of variance 1 / fan-in, for the scaled tanh; [2] eq. 16."""
    return keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal")


def _squash(x: KerasTensor, *, name: str) -> KerasTensor:
    return layers.Activation(scaled_tanh, name=f"{name}_tanh")(x)


def _convolve(x: KerasTensor, c: Conv, *, name: str) -> KerasTensor:
    return _squash(conv(x, c, name=name, initializer=_initializer()), name=name)


def _subsample(x: KerasTensor, *, name: str) -> KerasTensor:
    """Averages 2×2 pixels, scales and shifts each map, and squashes the result.

    [1] section II.B sums the four pixels, so its coefficient is a quarter of this one.
    """
    x = layers.AveragePooling2D(2, name=f"{name}_pool")(x)
    # One weight and one bias per map.
    return _squash(
        layers.DepthwiseConv2D(1, depthwise_initializer="ones", name=name)(x), name=name
    )


LENETS = {"lenet5": LeNetSpec()}  # [1] section II.B
