"""Implements local response normalisation across channels."""

from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from keras_resnet.errors import UsageError
from keras_resnet.layers.registry import register


@register
class LocalResponseNormalization(keras.layers.Layer):
    """Computes ``b_i = a_i / (k + α Σ_j a_j²)^β`` over ``size`` channels j around i.

    The window is truncated at the first and last channels. α multiplies the sum, as in
    the paper and in TensorFlow. Caffe, PyTorch and cuda-convnet divide their α by
    ``size``, so theirs must be ``size`` times this α for the same result. k is 2 as in
    the paper; the default in Caffe and PyTorch is 1.

    The layer computes in float32 under any dtype policy: a float16 square overflows at
    256, and bfloat16 cannot distinguish 2 from 2.005. A 1×1 convolution with a band
    matrix and two square roots (for β = 3/4) are faster than TensorFlow's own kernel.

    Reference: Krizhevsky et al., "ImageNet Classification with Deep Convolutional
    Neural Networks", 2012, section 3.3, whose constants are the defaults.

    Args:
        size: n, the number of channels in a window; odd.
        alpha: α, the factor of the sum of squares.
        beta: β, the exponent.
        k: The constant added to the sum; positive.
        **kwargs: Arguments of ``keras.layers.Layer``.

    Raises:
        UsageError: The size is not an odd positive number, or k is not positive.
    """

    def __init__(
        self,
        size: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 2.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if size < 1 or size % 2 == 0:
            raise UsageError(f"size must be an odd number of channels, got {size}")
        if k <= 0:
            raise UsageError(f"k must be greater than 0, got {k}")
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k
        self.built = True

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Maps ``(N, H, W, C)`` to the same shape."""
        x = ops.cast(inputs, "float32")
        channel = np.arange(inputs.shape[-1])
        band = abs(channel[:, None] - channel) <= self.size // 2
        kernel = ops.convert_to_tensor(self.alpha * band[None, None], "float32")
        # Without a data format, Keras takes the one that is configured now.
        sums = ops.conv(
            ops.square(x), kernel, padding="valid", data_format="channels_last"
        )
        scale = self._power(self.k + sums)
        return ops.cast(x * scale, self.compute_dtype)

    def _power(self, x: KerasTensor) -> KerasTensor:
        """Returns ``x^−β``."""
        if self.beta != 0.75:
            return ops.power(x, -self.beta)
        root = ops.rsqrt(x)
        return root * ops.sqrt(root)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the input shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "size": self.size,
            "alpha": self.alpha,
            "beta": self.beta,
            "k": self.k,
        }
