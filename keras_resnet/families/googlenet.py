"""Defines GoogLeNet, the Inception network of 2014 without batch normalisation.

The first convolution is a full 7×7 one, as in figure 3 of [1] and in Caffe. Table 1 of
[1] lists 2.7K weights and 34M operations for it. A full convolution has 9.4K and 118M;
8 depthwise filters per channel and a 1×1 convolution would match the table. The table's
weights of modules 4c, 4d, 5a and 5b do not match its own filters either.

References:
    [1] Szegedy et al., "Going Deeper with Convolutions", CVPR 2015.
    [2] Caffe's models/bvlc_googlenet, for constants that [1] does not state.
"""

from dataclasses import dataclass
from string import ascii_lowercase
from typing import NamedTuple

import keras
from keras import KerasTensor, layers

from keras_resnet.errors import UsageError, require_rate, require_widths
from keras_resnet.families.ops import Conv, conv_relu, flatten, fully_connected, logits
from keras_resnet.families.spec import AuxiliarySpec
from keras_resnet.layers import LocalResponseNormalization

FIRST_STAGE = 3  # [1] counts the two stages of the stem
AUXILIARY_POOL = (5, 3)  # size and stride; [1] section 5
AUXILIARY_WIDTH, AUXILIARY_HIDDEN, AUXILIARY_DROPOUT = 128, 1024, 0.7  # same section


class Inception(NamedTuple):
    """Channels of an Inception module: a row of [1] table 1."""

    conv1: int
    reduce3: int
    conv3: int
    reduce5: int
    conv5: int
    pool_proj: int


TABLE_1 = (
    (
        Inception(64, 96, 128, 16, 32, 32),
        Inception(128, 128, 192, 32, 96, 64),
    ),
    (
        Inception(192, 96, 208, 16, 48, 64),
        Inception(160, 112, 224, 24, 64, 64),
        Inception(128, 128, 256, 24, 64, 64),
        Inception(112, 144, 288, 32, 64, 64),
        Inception(256, 160, 320, 32, 128, 128),
    ),
    (
        Inception(256, 160, 320, 32, 128, 128),
        Inception(384, 192, 384, 48, 128, 128),
    ),
)


@dataclass(frozen=True)
class GoogLeNetSpec(AuxiliarySpec):
    """A GoogLeNet as data.

    Attributes:
        stages: The Inception modules of stages 3, 4, …; each module is six channel
            counts as in ``Inception``. A max-pool separates two stages.
        widths: Channels of the stem's three convolutions.
        dropout: Dropout rate before the classifier, in [0, 1).
        auxiliary_at: Names of the modules with an auxiliary classifier.
        auxiliary_weight: Weight of each auxiliary loss relative to the main loss.
    """

    stages: tuple[tuple[Inception, ...], ...] = TABLE_1
    widths: tuple[int, ...] = (64, 64, 192)
    dropout: float = 0.4
    auxiliary_at: tuple[str, ...] = ("inception4a", "inception4d")
    auxiliary_weight: float = 0.3

    def __post_init__(self) -> None:
        require_widths(self.widths, 3)
        require_rate(self, "dropout")
        if not (self.stages and all(map(_is_stage, self.stages))):
            raise UsageError(
                "stages must each be 1 to 26 modules of six positive channel counts, "
                f"got {self.stages}"
            )
        names = [name for stage in self._named() for name, _ in stage]
        if not set(self.auxiliary_at) <= set(names):
            raise UsageError(
                f"auxiliary_at must be among {', '.join(names)}, got "
                f"{self.auxiliary_at}"
            )
        if self.auxiliary_weight < 0:
            raise UsageError(
                f"auxiliary_weight must be at least 0, got {self.auxiliary_weight}"
            )

    @property
    def smallest_side(self) -> int:
        """Side of the smallest supported input, which gives one feature pixel."""
        return int(8 * 2 ** (len(self.stages) - 1))

    def features(self, x: KerasTensor) -> KerasTensor:
        """Maps images ``(N, H, W, C)`` to features ``(N, ⌈H/32⌉, ⌈W/32⌉, C')``."""
        x = self._stem(x)
        for stage, modules in enumerate(self._named(), FIRST_STAGE):
            if stage > FIRST_STAGE:
                x = _pool(x, 2, name=f"stage{stage - 1}_pool")
            for name, module in modules:
                x = inception(x, module, name=name)
        return x

    def classifier(self, x: KerasTensor, classes: int) -> KerasTensor:
        """Maps features to logits ``(N, classes)``; for 0, to pooled features."""
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        return logits(layers.Dropout(self.dropout, name="dropout")(x), classes)

    def auxiliary(self, model: keras.Model, classes: int) -> list[KerasTensor]:
        """Attaches the auxiliary classifiers to a model built from this spec.

        They are for training only ([1] section 5): training adds the loss of each,
        times ``auxiliary_weight``, to the main loss. The model itself does not change.

        Args:
            model: The model, of a fixed input size. A classifier pools whole maps if
                they are smaller than its 5×5 average pool.
            classes: Number of classes.

        Returns:
            One tensor of float32 logits ``(N, classes)`` for each of ``auxiliary_at``,
            computed from the model's input by layers ``aux1_…``, ``aux2_…``.

        Raises:
            UsageError: The input size is not fixed, or ``classes`` is less than 1.
        """
        if classes < 1:
            raise UsageError(
                f"classes of an auxiliary classifier must be at least 1, got {classes}"
            )
        return [
            _auxiliary(model.get_layer(f"{at}_concat").output, classes, name=f"aux{i}")
            for i, at in enumerate(self.auxiliary_at, 1)
        ]

    def _named(self) -> list[list[tuple[str, Inception]]]:
        """Returns the modules of each stage with their names: ``inception3a``, …."""
        return [
            [
                (f"inception{stage}{letter}", Inception(*row))
                for letter, row in zip(ascii_lowercase, rows, strict=False)
            ]
            for stage, rows in enumerate(self.stages, FIRST_STAGE)
        ]

    def _stem(self, x: KerasTensor) -> KerasTensor:
        one, two, three = self.widths
        x = _convolve(x, one, 7, stride=2, name="stem_conv1")
        x = _pool(x, 2, name="stem_pool1")
        x = _normalise(x, name="stem_lrn1")
        x = _convolve(x, two, 1, name="stem_conv2")
        x = _convolve(x, three, 3, name="stem_conv3")
        x = _normalise(x, name="stem_lrn2")
        return _pool(x, 2, name="stem_pool2")


def inception(x: KerasTensor, module: Inception, *, name: str) -> KerasTensor:
    """Applies four parallel paths and concatenates their channels; [1] fig. 2b.

    Args:
        x: Features ``(N, H, W, C)``.
        module: Channels of the paths' convolutions.
        name: Prefix of the layers' names.

    Returns:
        Features ``(N, H, W, conv1 + conv3 + conv5 + pool_proj)``.
    """

    def path(x: KerasTensor, filters: int, kernel: int, part: str) -> KerasTensor:
        return _convolve(x, filters, kernel, name=f"{name}_{part}")

    reduced3 = path(x, module.reduce3, 1, "3x3_reduce")
    reduced5 = path(x, module.reduce5, 1, "5x5_reduce")
    pooled = _pool(x, 1, name=f"{name}_pool")
    paths = [
        path(x, module.conv1, 1, "1x1"),
        path(reduced3, module.conv3, 3, "3x3"),
        path(reduced5, module.conv5, 5, "5x5"),
        path(pooled, module.pool_proj, 1, "pool_proj"),
    ]
    return layers.Concatenate(name=f"{name}_concat")(paths)


def _auxiliary(x: KerasTensor, classes: int, *, name: str) -> KerasTensor:
    size, stride = AUXILIARY_POOL
    sizes = tuple(size if side is None else min(size, side) for side in x.shape[1:3])
    x = layers.AveragePooling2D(sizes, stride, name=f"{name}_pool")(x)
    x = _convolve(x, AUXILIARY_WIDTH, 1, name=f"{name}_conv")
    x = flatten(x, name=f"{name}_flatten")
    x = fully_connected(x, AUXILIARY_HIDDEN, name=f"{name}_fc")
    x = layers.Dropout(AUXILIARY_DROPOUT, name=f"{name}_dropout")(x)
    return logits(x, classes, name=f"{name}_logits")


def _convolve(
    x: KerasTensor, filters: int, kernel: int, *, name: str, stride: int = 1
) -> KerasTensor:
    """Applies a convolution and a ReLU.

    With fan-out initialisation, a module's four paths from C to C' channels would
    multiply the signal's variance by ``4·C / C'``, and no layer would correct it.
    """
    c = Conv(filters, kernel, stride, bias=True)
    return conv_relu(x, c, name=name, fan="fan_in")


def _pool(x: KerasTensor, stride: int, *, name: str) -> KerasTensor:
    """Applies a 3×3 max-pool, to ``⌈H/stride⌉``.

    An even size is padded only at its end, like Caffe's rounding up ([2]). An odd size
    is padded at both ends; Caffe returns one pixel less.
    """
    return layers.MaxPooling2D(3, stride, padding="same", name=name)(x)


def _normalise(x: KerasTensor, *, name: str) -> KerasTensor:
    """Applies local response normalisation with [2]'s constants; [1] states none."""
    return LocalResponseNormalization(size=5, alpha=1e-4 / 5, k=1.0, name=name)(x)


def _is_stage(rows: object) -> bool:
    return (
        isinstance(rows, tuple | list)
        and 0 < len(rows) <= len(ascii_lowercase)
        and all(map(_is_row, rows))
    )


def _is_row(row: object) -> bool:
    return (
        isinstance(row, tuple | list)
        and len(row) == len(Inception._fields)
        and all(type(width) is int and width > 0 for width in row)
    )


GOOGLENETS = {"googlenet": GoogLeNetSpec()}
