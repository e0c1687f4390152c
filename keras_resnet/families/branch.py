"""Builds the branch F of a residual unit: convolutions and activations in order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from keras import KerasTensor, layers

from keras_resnet.families.ops import NORM_RELU, Conv, Step, activate, conv, he_normal


@dataclass(frozen=True)
class Order:
    """The positions of normalisation and ReLU in a unit.

    Attributes:
        before: Steps before the first convolution.
        between: Steps after every convolution except the last.
        after: Steps after the last convolution, before the addition.
        after_addition: Steps after the addition (f in the residual equation).
    """

    before: tuple[Step, ...]
    between: tuple[Step, ...]
    after: tuple[Step, ...]
    after_addition: tuple[Step, ...]


ORDERS = {  # He et al., "Identity Mappings in Deep Residual Networks", 2016, fig. 4
    "original": Order((), NORM_RELU, ("norm",), ("relu",)),
    "bn_after_addition": Order((), NORM_RELU, (), NORM_RELU),
    "relu_before_addition": Order((), NORM_RELU, NORM_RELU, ()),
    "relu_only_preactivation": Order(("relu",), NORM_RELU, ("norm",), ()),
    "full_preactivation": Order(NORM_RELU, NORM_RELU, (), ()),
}

# Xie et al., "Aggregated Residual Transformations", 2017, fig. 3: three layouts of the
# same function, for a branch whose inner convolutions have C groups of channels.
FORMS = {
    "A": "F(x) = Σ Tᵢ(x), i = 1 … C: one path per group, outputs added",
    "B": "one path per group, concatenated before the last convolution",
    "C": "one path, with grouped convolution",
}


def branch(
    x: KerasTensor, convs: tuple[Conv, ...], order: Order, *, form: str, name: str
) -> KerasTensor:
    """Applies the branch F without the steps before its first convolution.

    Args:
        x: Features ``(N, H, W, C)``.
        convs: The convolutions, in order.
        order: The positions of normalisation and ReLU.
        form: A key of ``FORMS``.
        name: Prefix of the names of the unit's layers.

    Returns:
        Features ``(N, ⌈H/s⌉, ⌈W/s⌉, F)``, ready for the addition.
    """
    *inner, last = convs
    count = len(convs)
    if form == "C":  # one path with grouped convolutions
        x = _inner(x, inner, order, name=name)
        x = conv(x, last, name=f"{name}_conv{count}")
        return activate(x, order.after, prefix=name, suffix=str(count))
    # Forms A and B: a path for each group.
    groups = max(c.groups for c in convs)
    inner = [replace(c, filters=c.filters // groups, groups=1) for c in inner]
    names = [f"{name}_path{path}" for path in range(1, groups + 1)]
    paths = [_inner(x, inner, order, name=path, paths=groups) for path in names]
    if form == "B":
        x = _merged(layers.Concatenate(name=f"{name}_concat"), paths)
        x = conv(x, last, name=f"{name}_conv{count}")
    else:
        paths = [
            conv(y, last, name=f"{path}_conv{count}")
            for y, path in zip(paths, names, strict=True)
        ]
        x = _merged(layers.Add(name=f"{name}_sum"), paths)
    return activate(x, order.after, prefix=name, suffix=str(count))


def _inner(
    x: KerasTensor, convs: Sequence[Conv], order: Order, *, name: str, paths: int = 1
) -> KerasTensor:
    for i, c in enumerate(convs, 1):
        x = conv(x, c, name=f"{name}_conv{i}", initializer=he_normal(paths=paths))
        x = activate(x, order.between, prefix=name, suffix=str(i))
    return x


def _merged(layer: layers.Layer, paths: list[KerasTensor]) -> KerasTensor:
    return layer(paths) if len(paths) > 1 else paths[0]
