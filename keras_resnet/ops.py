"""The vocabulary every network here is written in, and its constants.

All tensors are channels-last, ``(N, H, W, C)``. Padding is symmetric, ``kernel // 2``
on every side, as in the papers (Keras' ``"same"`` pads a strided layer on one side
only).
"""

import keras
from keras import KerasTensor, layers

from keras_resnet.layers import BatchNormalization, MaxPooling2D

BN_MOMENTUM = 0.9  # of the old statistics (fb.resnet.torch: 0.1 of the new ones)
BN_EPSILON = 1e-5  # fb.resnet.torch and Caffe

Step = str  # "norm" or "relu"
NORM_RELU: tuple[Step, ...] = ("norm", "relu")


def he_normal() -> keras.initializers.Initializer:
    """Zero-mean normal of variance ``2 / (kernel² · filters)``.

    Reference: He et al., "Delving Deep into Rectifiers", 2015, eq. 14, which the
    ResNet paper (section 3.4) initialises by. Not truncated, unlike Keras' HeNormal.
    """
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def conv(
    x: KerasTensor, filters: int, kernel: int, stride: int = 1, *, name: str
) -> KerasTensor:
    """Bias-free, He-initialised convolution to ``(N, ⌈H/stride⌉, ⌈W/stride⌉, F)``.

    Args:
        x: Features ``(N, H, W, C)``.
        filters: Output channels F.
        kernel: Side of the (odd, square) kernel in pixels.
        stride: Step in pixels.
        name: The layer's name.
    """
    if stride > 1 and kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    return layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="valid" if stride > 1 else "same",
        use_bias=False,
        kernel_initializer=he_normal(),
        name=name,
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
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if classes == 0:
        return x
    return layers.Dense(classes, dtype="float32", name="logits")(x)
