"""The vocabulary every network here is written in, and its constants.

All tensors are channels-last, ``(N, H, W, C)``. Padding is symmetric, ``kernel // 2``
on every side, as in the papers (Keras' ``"same"`` pads a strided layer on one side
only), unless a layer says otherwise.
"""

from dataclasses import dataclass

import keras
from keras import KerasTensor, layers

from keras_resnet.errors import UsageError
from keras_resnet.layer_names import HEAD
from keras_resnet.layers import BatchNormalization, GroupedConv2D, MaxPooling2D

BN_MOMENTUM = 0.9  # of the old statistics (fb.resnet.torch: 0.1 of the new ones)
BN_EPSILON = 1e-5  # fb.resnet.torch and Caffe

Step = str  # "norm" or "relu"
NORM_RELU: tuple[Step, ...] = ("norm", "relu")


def he_normal(fan: str = "fan_out", paths: int = 1) -> keras.initializers.Initializer:
    """Zero-mean normal of variance ``2 / (kernel² · filters)``.

    With ``"fan_in"``, of ``2 / (kernel² · channels)``, which keeps the size of what
    flows forward instead of the gradient's. A convolution that is one of several
    ``paths`` starts like its share of one convolution with all their filters.

    Reference: He et al., "Delving Deep into Rectifiers", 2015, eq. 14 (eq. 10 for
    ``"fan_in"``), which the ResNet paper (section 3.4) initialises by. Not truncated,
    unlike Keras' HeNormal.
    """
    return keras.initializers.VarianceScaling(2.0 / paths, fan, "untruncated_normal")


@dataclass(frozen=True)
class Conv:
    """A convolution as data.

    Attributes:
        filters: Output channels.
        kernel: Side of the square kernel in pixels.
        stride: Step in pixels.
        groups: Groups of channels that are convolved apart from each other.
        bias: Whether a bias is added; none where a normalisation follows.
        padding: Zeros on every side, in pixels; None: ``kernel // 2``, which keeps
            the size.
    """

    filters: int
    kernel: int
    stride: int = 1
    groups: int = 1
    bias: bool = False
    padding: int | None = None


def conv(
    x: KerasTensor,
    c: Conv,
    *,
    name: str,
    initial_bias: float = 0.0,
    initializer: keras.initializers.Initializer | None = None,
) -> KerasTensor:
    """He-initialised convolution of ``(N, H, W, C)``, to ``⌈H/stride⌉`` by default."""
    padding = c.kernel // 2 if c.padding is None else c.padding
    # Keras' "same" is symmetric where the stride is 1.
    same = c.stride == 1 and 2 * padding == c.kernel - 1
    if padding and not same:
        x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
    options = {"groups": c.groups} if c.groups > 1 else {}
    return (GroupedConv2D if options else layers.Conv2D)(
        c.filters,
        c.kernel,
        c.stride,
        padding="same" if same else "valid",
        use_bias=c.bias,
        kernel_initializer=initializer or he_normal(),
        bias_initializer=keras.initializers.Constant(initial_bias),
        name=name,
        **options,
    )(x)


def norm(x: KerasTensor, *, name: str) -> KerasTensor:
    """Batch normalisation over N, H and W (Ioffe & Szegedy, 2015)."""
    return BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, name=name)(x)


def relu(x: KerasTensor, *, name: str) -> KerasTensor:
    """Rectified linear unit."""
    return layers.ReLU(name=name)(x)


STEPS = {"norm": norm, "relu": relu}


def activate(
    x: KerasTensor, steps: tuple[Step, ...], *, prefix: str, suffix: str = ""
) -> KerasTensor:
    """Applies ``steps`` in turn, each a layer named ``{prefix}_{step}{suffix}``."""
    for step in steps:
        x = STEPS[step](x, name=f"{prefix}_{step}{suffix}")
    return x


def conv_relu(
    x: KerasTensor, c: Conv, *, name: str, fan: str = "fan_out"
) -> KerasTensor:
    """Convolution, initialised by ``he_normal(fan)``, and ReLU."""
    x = conv(x, c, name=name, initializer=he_normal(fan))
    return relu(x, name=f"{name}_relu")


def fully_connected(x: KerasTensor, units: int, *, name: str) -> KerasTensor:
    """Hidden layer ``(N, C)`` to ``(N, units)`` with ReLU, without normalisation."""
    initial = he_normal("fan_in")
    x = layers.Dense(units, kernel_initializer=initial, name=name)(x)
    return relu(x, name=f"{name}_relu")


def flatten(x: KerasTensor, *, name: str = "flatten") -> KerasTensor:
    """Maps ``(N, h, w, C)`` to ``(N, h·w·C)`` for fully connected layers.

    Raises:
        UsageError: The height or width is open (None).
    """
    if None in x.shape[1:]:
        raise UsageError(
            "height and width of the input of a network with fully connected layers "
            "must be fixed, got None; give input_shape as integers"
        )
    return layers.Flatten(name=name)(x)


def max_pool(x: KerasTensor, size: int, stride: int, *, name: str) -> KerasTensor:
    """Maximum over ``size``×``size`` windows, padded by ``size // 2`` of −∞."""
    return MaxPooling2D(size, stride, name=name)(x)


def head(x: KerasTensor, classes: int) -> KerasTensor:
    """Global average pooling, then a linear classifier unless ``classes`` is 0.

    Args:
        x: Features ``(N, h, w, C)``.
        classes: Number of classes, 0 for none.

    Returns:
        Logits ``(N, classes)`` in float32 whatever the precision, or pooled features
        ``(N, C)``.
    """
    return logits(layers.GlobalAveragePooling2D(name="pool")(x), classes)


def logits(x: KerasTensor, classes: int, *, name: str = HEAD) -> KerasTensor:
    """Linear classifier on features ``(N, C)``; the features where ``classes`` is 0."""
    if classes == 0:
        return x
    return layers.Dense(classes, dtype="float32", name=name)(x)
