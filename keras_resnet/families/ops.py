"""Defines the building blocks of all networks, and their constants.

All tensors are channels-last, ``(N, H, W, C)``. Unless stated otherwise, padding is
symmetric, ``kernel // 2`` on every side, as in the papers. (Keras' ``"same"`` pads a
strided layer on one side only.)
"""

from dataclasses import dataclass

import keras
from keras import KerasTensor, layers

from keras_resnet.errors import UsageError
from keras_resnet.layer_names import HEAD
from keras_resnet.layers import BatchNormalization, GroupedConv2D, MaxPooling2D

BN_MOMENTUM = 0.9  # weight of the old statistics (fb.resnet.torch: 0.1 of the new)
BN_EPSILON = 1e-5  # fb.resnet.torch and Caffe

Step = str  # "norm" or "relu"
NORM_RELU: tuple[Step, ...] = ("norm", "relu")


def he_normal(fan: str = "fan_out", paths: int = 1) -> keras.initializers.Initializer:
    """Returns a zero-mean normal initializer of variance ``2 / (kernel² · filters)``.

    With ``"fan_in"`` the variance is ``2 / (kernel² · channels)``, which preserves the
    scale of activations instead of gradients. One of several ``paths`` is initialised
    like its share of one convolution with the filters of all paths.

    Reference: He et al., "Delving Deep into Rectifiers", 2015, eq. 14 (eq. 10 for
    ``"fan_in"``), which the ResNet paper uses (section 3.4). The normal is not
    truncated, unlike in Keras' HeNormal.
    """
    return keras.initializers.VarianceScaling(2.0 / paths, fan, "untruncated_normal")


@dataclass(frozen=True)
class Conv:
    """A convolution as data.

    Attributes:
        filters: Output channels.
        kernel: Side of the square kernel in pixels.
        stride: Step in pixels.
        groups: Number of channel groups that are convolved separately.
        bias: Whether to add a bias; not needed if a normalisation follows.
        padding: Zeros on every side, in pixels; None means ``kernel // 2``, which
            keeps the size.
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
    """Applies a convolution.

    Args:
        x: Features ``(N, H, W, C)``.
        c: The convolution.
        name: Name of the layer.
        initial_bias: Initial value of the bias.
        initializer: Initialiser of the kernel; None means ``he_normal()``.

    Returns:
        Features ``(N, H', W', filters)``, with ``H' = ⌈H/stride⌉`` by default.
    """
    padding = c.kernel // 2 if c.padding is None else c.padding
    # Keras' "same" is symmetric only if the stride is 1.
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
    """Applies batch normalisation over N, H and W (Ioffe & Szegedy, 2015)."""
    return BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, name=name)(x)


def relu(x: KerasTensor, *, name: str) -> KerasTensor:
    """Applies the rectified linear unit."""
    return layers.ReLU(name=name)(x)


STEPS = {"norm": norm, "relu": relu}


def activate(
    x: KerasTensor, steps: tuple[Step, ...], *, prefix: str, suffix: str = ""
) -> KerasTensor:
    """Applies normalisation and ReLU in a given order.

    Args:
        x: Features ``(N, H, W, C)``.
        steps: Keys of ``STEPS``, in order.
        prefix: Start of each layer's name, ``{prefix}_{step}{suffix}``.
        suffix: End of each layer's name.

    Returns:
        Features of the same shape.
    """
    for step in steps:
        x = STEPS[step](x, name=f"{prefix}_{step}{suffix}")
    return x


def conv_relu(
    x: KerasTensor, c: Conv, *, name: str, fan: str = "fan_out"
) -> KerasTensor:
    """Applies a convolution and a ReLU.

    Args:
        x: Features ``(N, H, W, C)``.
        c: The convolution, initialised by ``he_normal(fan)``.
        name: Name of the convolution.
        fan: ``"fan_out"`` or ``"fan_in"``.

    Returns:
        Features as of ``conv``.
    """
    x = conv(x, c, name=name, initializer=he_normal(fan))
    return relu(x, name=f"{name}_relu")


def fully_connected(x: KerasTensor, units: int, *, name: str) -> KerasTensor:
    """Applies a hidden dense layer and a ReLU, without normalisation.

    Args:
        x: Features ``(N, C)``.
        units: Number of outputs.
        name: Name of the dense layer.

    Returns:
        Features ``(N, units)``.
    """
    initial = he_normal("fan_in")
    x = layers.Dense(units, kernel_initializer=initial, name=name)(x)
    return relu(x, name=f"{name}_relu")


def flatten(x: KerasTensor, *, name: str = "flatten") -> KerasTensor:
    """Maps ``(N, h, w, C)`` to ``(N, h·w·C)`` for fully connected layers.

    Raises:
        UsageError: The height or width is not fixed (None).
    """
    if None in x.shape[1:]:
        raise UsageError(
            "height and width of the input of a network with fully connected layers "
            "must be fixed, got None; give input_shape as integers"
        )
    return layers.Flatten(name=name)(x)


def stem_pool(x: KerasTensor) -> KerasTensor:
    """Applies the 3×3 max-pool of the ImageNet stems, to ``⌈H/2⌉``, padded by −∞."""
    return MaxPooling2D(3, 2, name="stem_pool")(x)


def head(x: KerasTensor, classes: int) -> KerasTensor:
    """Applies global average pooling, then ``logits`` to the ``(N, C)`` features."""
    return logits(layers.GlobalAveragePooling2D(name="pool")(x), classes)


def logits(x: KerasTensor, classes: int, *, name: str = HEAD) -> KerasTensor:
    """Applies a linear classifier unless ``classes`` is 0.

    Args:
        x: Features ``(N, C)``.
        classes: Number of classes; 0 omits the classifier.
        name: Name of the layer.

    Returns:
        Float32 logits ``(N, classes)``, or ``x``.
    """
    if classes == 0:
        return x
    return layers.Dense(classes, dtype="float32", name=name)(x)
