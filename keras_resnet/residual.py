"""The residual equation, once: x' = f(h(x) + F(x)).

F, the branch, is a tuple of convolutions; the order of activations around them and the
shortcut h are rows of tables. Layers are named after the unit, and the names are part
of the interface (checkpoints and weight import rely on them)::

    {unit}_pre_norm  {unit}_pre_relu     before the branch
    {unit}_conv1 … {unit}_conv3          the branch's convolutions
    {unit}_norm1 {unit}_relu1 …          after each of them
    {unit}_shortcut {unit}_shortcut_norm the shortcut, where it is not the identity
    {unit}_add                           the addition
    {unit}_norm  {unit}_relu             f, after the addition
"""

from dataclasses import dataclass

from keras import KerasTensor, layers

from keras_resnet.errors import UsageError
from keras_resnet.layers import ZeroPaddedShortcut
from keras_resnet.ops import NORM_RELU, Step, activate, conv, norm


@dataclass(frozen=True)
class Conv:
    """One convolution of a residual branch.

    Attributes:
        filters: Output channels.
        kernel: Side of the square kernel in pixels.
        stride: Step in pixels.
    """

    filters: int
    kernel: int
    stride: int = 1


@dataclass(frozen=True)
class Order:
    """Where normalisation and ReLU stand in a unit.

    Attributes:
        before: Ahead of the first convolution.
        between: After every convolution but the last.
        after: After the last convolution, ahead of the addition.
        out: After the addition (the f of the equation).
    """

    before: tuple[Step, ...]
    between: tuple[Step, ...]
    after: tuple[Step, ...]
    out: tuple[Step, ...]


ORDERS = {  # He et al., "Identity Mappings in Deep Residual Networks", 2016, fig. 4
    "original": Order((), NORM_RELU, ("norm",), ("relu",)),
    "bn_after_addition": Order((), NORM_RELU, (), NORM_RELU),
    "relu_before_addition": Order((), NORM_RELU, NORM_RELU, ()),
    "relu_only_preactivation": Order(("relu",), NORM_RELU, ("norm",), ()),
    "full_preactivation": Order(NORM_RELU, NORM_RELU, (), ()),
}

# He et al., "Deep Residual Learning for Image Recognition", 2016, section 3.3:
SHORTCUTS = {
    "A": "identity, zero-padded where the shape changes",
    "B": "identity, projected by a 1×1 convolution where the shape changes",
    "C": "projected by a 1×1 convolution everywhere",
}


def residual(
    x: KerasTensor,
    branch: tuple[Conv, ...],
    *,
    order: Order,
    shortcut: str,
    name: str,
) -> KerasTensor:
    """One residual unit, ``f(h(x) + F(x))``.

    Args:
        x: Features ``(N, H, W, C)``.
        branch: The convolutions of F, first one first.
        order: Where normalisation and ReLU stand.
        shortcut: ``"A"``, ``"B"`` or ``"C"``, see ``SHORTCUTS``.
        name: Prefix of the names of the unit's layers.

    Returns:
        Features ``(N, ⌈H/s⌉, ⌈W/s⌉, F)``, s the largest of the branch's strides and F
        the filters of its last convolution.
    """
    y = activate(x, order.before, prefix=f"{name}_pre")
    h = shortcut_branch(x, y, branch, order=order, shortcut=shortcut, name=name)
    for i, c in enumerate(branch, 1):
        y = conv(y, c.filters, c.kernel, c.stride, name=f"{name}_conv{i}")
        steps = order.after if i == len(branch) else order.between
        y = activate(y, steps, prefix=name, suffix=str(i))
    y = layers.Add(name=f"{name}_add")([h, y])
    return activate(y, order.out, prefix=name)


def shortcut_branch(
    x: KerasTensor,
    activated: KerasTensor,
    branch: tuple[Conv, ...],
    *,
    order: Order,
    shortcut: str,
    name: str,
) -> KerasTensor:
    """The shortcut h.

    Where the shape changes, h takes what the branch takes: in a pre-activation unit
    the activated features, so that one activation serves both (the authors'
    resnet-pre-act.lua). A projection is normalised where the branch's end is.

    Raises:
        UsageError: Option A would have to drop channels.
    """
    stride = max(c.stride for c in branch)
    filters = branch[-1].filters
    changes = stride > 1 or x.shape[-1] != filters
    source = activated if changes else x
    if shortcut == "C" or (shortcut == "B" and changes):
        h = conv(source, filters, 1, stride, name=f"{name}_shortcut")
        return norm(h, name=f"{name}_shortcut_norm") if "norm" in order.after else h
    if not changes:
        return x
    if filters < x.shape[-1]:
        raise UsageError(
            f"shortcut 'A' can only add channels, got {x.shape[-1]} → {filters} in "
            f"{name}; use shortcut 'B'"
        )
    return ZeroPaddedShortcut(filters, stride, name=f"{name}_shortcut")(source)
