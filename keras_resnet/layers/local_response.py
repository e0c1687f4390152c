"""Local response normalisation across channels."""

from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from keras_resnet.errors import UsageError
from keras_resnet.layers.registry import register


@register
class LocalResponseNormalization(keras.layers.Layer):
    """``b_i = a_i / (k + α Σ_j a_j²)^β``, j over the ``size`` channels around i.

    At the first and last channels the window is cut off. α multiplies the sum, as in
    the paper and in TensorFlow; Caffe, PyTorch and cuda-convnet divide their α by
    ``size``, so theirs is ``size`` times this one for the same result. k is the paper's
    2; Caffe's and PyTorch's default is 1.

    Computed in float32 whatever the precision: a float16 square overflows at 256, and
    bfloat16 cannot tell 2 from 2.005. The sum is a 1×1 convolution by a band matrix,
    and a power of −3/4 two square roots: faster than TensorFlow's own kernel.

    Reference: Krizhevsky et al., "ImageNet Classification with Deep Convolutional
    Neural Networks", 2012, section 3.3, whose constants are the defaults.

    Args:
        size: n, channels in a window; odd.
        alpha: α, of the sum of squares.
        beta: β, the exponent.
        k: What is added to the sum; positive.
        **kwargs: Of ``keras.layers.Layer``.

    Raises:
        UsageError: An impossible size or k.
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
        scale = self._power(self.k + ops.conv(ops.square(x), kernel, padding="valid"))
        return ops.cast(x * scale, self.compute_dtype)

    def _power(self, x: KerasTensor) -> KerasTensor:
        """``x^−β``."""
        if self.beta != 0.75:
            return ops.power(x, -self.beta)
        root = ops.rsqrt(x)
        return root * ops.sqrt(root)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the input's shape."""
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
