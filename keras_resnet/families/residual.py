"""Builds residual units: x' = f(h(x) + d·F(x)).

The branch F is a tuple of convolutions with an order of activations (``branch.py``).
The field ``shortcut`` says how h changes the shape (He et al., CVPR 2016), the field
``skip`` what else h does (He et al., ECCV 2016): scale, gate, project or drop.
Stochastic depth draws d, which is 1 without it. Plain networks have no h; Highway
networks have gates on F and h. Layers are named after the unit. The names are part of
the interface; checkpoints, weight imports, lesions and figures use them::

    {unit}_pre_norm  {unit}_pre_relu     before the branch
    {unit}_conv1 … {unit}_conv3          the branch's convolutions
    {unit}_norm1 {unit}_relu1 …          after each of them
    {unit}_path1_conv1 …                 the same in the paths of forms A and B
    {unit}_shortcut {unit}_shortcut_norm the shortcut, if it is not the identity
    {unit}_shortcut_pool                 before the shortcut, in option A_pooled
    {unit}_gate {unit}_gate_sigmoid      the convolution of a gate g, and g
    {unit}_carry                         1 − g
    {unit}_gated {unit}_shortcut_gated   g·F and (1 − g)·h
    {unit}_scaled {unit}_shortcut_scaled F and h times a constant
    {unit}_shortcut_dropout              dropout of h
    {unit}_branch                        the branch as a model, with stochastic depth
    {unit}_add                           the addition
    {unit}_norm  {unit}_relu             f, after the addition
"""

from dataclasses import dataclass

from keras import KerasTensor, layers

from keras_resnet.errors import UsageError
from keras_resnet.families.branch import Order, branch
from keras_resnet.families.ops import Conv, activate, conv, norm
from keras_resnet.layers import StochasticDepth, ZeroPaddedShortcut, branch_model

# He et al., "Deep Residual Learning for Image Recognition", 2016, section 3.3:
SHORTCUTS = {
    "A": "identity; every other pixel if the size changes, padded with zeros if "
    "channels are added",
    # Huang et al., "Deep Networks with Stochastic Depth", 2016: ResidualDrop.lua
    "A_pooled": "as A, with average pooling if the size changes",
    "B": "as A, but a 1×1 convolution if the number of channels changes",
    "C": "1×1 convolution in every unit",
    "none": "no shortcut, as in a plain network",
}


@dataclass(frozen=True)
class ShortcutKind:
    """The operations on a shortcut other than changing its shape.

    Attributes:
        scale: Constant factor of the shortcut and of the branch.
        gate_bias: Initial bias of the gate g(x) = σ(W·x + b), None for no gate. The
            shortcut is multiplied by 1 − g(x).
        gate_kernel: Side of the gate's kernel in pixels.
        gates_branch: Whether the branch is multiplied by g(x).
        projects: Whether a 1×1 convolution replaces the identity.
        dropout: Fraction of the shortcut's values that training sets to 0.
    """

    scale: float = 1.0
    gate_bias: float | None = None
    gate_kernel: int = 1
    gates_branch: bool = False
    projects: bool = False
    dropout: float = 0.0


# He et al., "Identity Mappings in Deep Residual Networks", 2016, fig. 2 and table 1,
# with the constants of the best run of each kind. Dropout has only one run there, which
# failed.
SKIPS = {
    "identity": ShortcutKind(),  # x + F(x)
    "constant_scaling": ShortcutKind(scale=0.5),  # x/2 + F(x)/2
    "exclusive_gating": ShortcutKind(  # (1 − g(x))·x + g(x)·F(x)
        gate_bias=-6.0, gates_branch=True
    ),
    "shortcut_only_gating": ShortcutKind(gate_bias=-6.0),  # (1 − g(x))·x + F(x)
    "conv1x1": ShortcutKind(projects=True),  # W·x + F(x)
    "dropout": ShortcutKind(dropout=0.5),  # dropout(x) + F(x)
}


@dataclass(frozen=True)
class Unit:
    """A residual unit as data.

    Attributes:
        convs: The convolutions of F, in order.
        order: The positions of normalisation and ReLU.
        shortcut: A key of ``SHORTCUTS``.
        skip: The other operations on the shortcut.
        form: The layout of the groups of F, a key of ``FORMS``.
        survival: Probability that training keeps the branch, in (0, 1].
        drop_mode: Whether to draw once per ``"batch"`` or per ``"sample"``.
    """

    convs: tuple[Conv, ...]
    order: Order
    shortcut: str = "B"
    skip: ShortcutKind = SKIPS["identity"]
    form: str = "C"
    survival: float = 1.0
    drop_mode: str = "batch"

    @property
    def stride(self) -> int:
        """Input pixels per output pixel."""
        return max(c.stride for c in self.convs)

    @property
    def filters(self) -> int:
        """Number of output channels."""
        return self.convs[-1].filters


def residual(x: KerasTensor, unit: Unit, *, name: str) -> KerasTensor:
    """Applies one residual unit, ``f(h(x) + d·F(x))``.

    If the number of channels changes, h has the same input as the branch: in a
    pre-activation unit the activated features, so that both share one activation (as in
    the authors' resnet-pre-act.lua).

    Args:
        x: Features ``(N, H, W, C)``.
        unit: The unit to build.
        name: Prefix of the names of the unit's layers.

    Returns:
        Features ``(N, ⌈H/s⌉, ⌈W/s⌉, F)`` for a unit of stride s and F filters.

    Raises:
        UsageError: Option A would have to remove channels.
    """
    before = unit.order.before
    if x.shape[-1] != unit.filters:
        x, before = activate(x, before, prefix=f"{name}_pre"), ()
    gate = _gate(x, unit, name=name)

    def scaled_branch(features: KerasTensor, *gates: KerasTensor) -> KerasTensor:
        y = activate(features, before, prefix=f"{name}_pre")
        y = branch(y, unit.convs, unit.order, form=unit.form, name=name)
        y = _scaled(y, unit.skip.scale, name=f"{name}_scaled")
        return layers.Multiply(name=f"{name}_gated")([y, *gates]) if gates else y

    inputs = [x, gate] if unit.skip.gates_branch else [x]
    if unit.shortcut == "none":
        y = scaled_branch(*inputs)
    elif unit.survival == 1:
        h = _shortcut(x, gate, unit, name=name)
        y = layers.Add(name=f"{name}_add")([h, scaled_branch(*inputs)])
    else:
        h = _shortcut(x, gate, unit, name=name)
        model = branch_model(scaled_branch, inputs, name=f"{name}_branch")
        drop = StochasticDepth(model, unit.survival, unit.drop_mode, name=f"{name}_add")
        y = drop([h, *inputs])
    return activate(y, unit.order.after_addition, prefix=name)


def _gate(x: KerasTensor, unit: Unit, *, name: str) -> KerasTensor | None:
    """Returns g(x) = σ(W·x + b) in the shape of the unit's output, or None."""
    skip = unit.skip
    if skip.gate_bias is None:
        return None
    c = Conv(unit.filters, skip.gate_kernel, unit.stride, bias=True)
    g = conv(x, c, name=f"{name}_gate", initial_bias=skip.gate_bias)
    return layers.Activation("sigmoid", name=f"{name}_gate_sigmoid")(g)


def _shortcut(
    x: KerasTensor, gate: KerasTensor | None, unit: Unit, *, name: str
) -> KerasTensor:
    h = _reshaped(x, unit, name=name)
    h = _scaled(h, unit.skip.scale, name=f"{name}_shortcut_scaled")
    if gate is not None:
        carry = layers.Rescaling(-1.0, offset=1.0, name=f"{name}_carry")(gate)
        h = layers.Multiply(name=f"{name}_shortcut_gated")([h, carry])
    if unit.skip.dropout:
        h = layers.Dropout(unit.skip.dropout, name=f"{name}_shortcut_dropout")(h)
    return h


def _reshaped(x: KerasTensor, unit: Unit, *, name: str) -> KerasTensor:
    """Applies the shortcut option.

    A projection is normalised if the branch ends with a normalisation.
    """
    changes_channels = x.shape[-1] != unit.filters
    if (
        unit.shortcut == "C"
        or unit.skip.projects
        or (unit.shortcut == "B" and changes_channels)
    ):
        c = Conv(unit.filters, 1, unit.stride)
        h = conv(x, c, name=f"{name}_shortcut")
        normed = "norm" in unit.order.after
        return norm(h, name=f"{name}_shortcut_norm") if normed else h
    if unit.stride == 1 and not changes_channels:
        return x
    if unit.filters < x.shape[-1]:
        raise UsageError(
            f"shortcut {unit.shortcut!r} can only add channels, got {x.shape[-1]} → "
            f"{unit.filters} in {name}; use shortcut 'B'"
        )
    stride = unit.stride
    if unit.shortcut == "A_pooled" and stride > 1:
        pool_name = f"{name}_shortcut_pool"
        x = layers.AveragePooling2D(stride, padding="same", name=pool_name)(x)
        stride = 1
    return ZeroPaddedShortcut(unit.filters, stride, name=f"{name}_shortcut")(x)


def _scaled(x: KerasTensor, scale: float, *, name: str) -> KerasTensor:
    return x if scale == 1 else layers.Rescaling(scale, name=name)(x)
