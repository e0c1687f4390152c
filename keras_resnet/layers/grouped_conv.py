"""Implements grouped convolution with several ways to compute it."""

from functools import cache

import keras
import numpy as np
from keras import KerasTensor, ops

from keras_resnet.layers.registry import register

# The paths with their minimum of channels per group, chosen for speed on a CPU
# (docs/performance.md). The split path's 16 float32 channels fill an AVX-512 vector.
PATHS = {"native": 1, "merged": 8, "split": 16}


@register
class GroupedConv2D(keras.layers.Conv2D):
    """Keras' grouped convolution, with fast training on a CPU and export without XLA.

    Arguments, weights, config and results equal those of ``keras.layers.Conv2D``, so
    checkpoints are interchangeable for all paths. On a CPU, Keras compiles the layer
    with XLA, and its gradients take a hundred times as long as here: oneDNN implements
    them, although TensorFlow's own kernels do not.

    Path ``"native"`` is one call of the backend's grouped convolution. ``"merged"`` is
    one call with fewer and wider groups: it merges narrow neighbours into one group,
    whose dense kernel has zeros off the diagonal. ``"split"`` concatenates ungrouped
    convolutions, one for each merged group.

    Attributes:
        path: One of ``PATHS``, or ``"auto"``. For TensorFlow without a GPU, auto means
            merged if oneDNN provides the gradients and split otherwise; elsewhere it
            means native. Not part of the config.
    """

    path = "auto"

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Maps ``(N, H, W, C)`` to ``(N, H', W', filters)``."""
        if self.data_format == "channels_first":
            return super().call(inputs)
        path = self._best_path() if self.path == "auto" else self.path
        compute = self._split if path == "split" else self._grouped
        y = compute(inputs, self._merged_kernel(PATHS[path]))
        y = ops.add(y, self.bias) if self.use_bias else y
        return y if self.activation is None else self.activation(y)

    def _best_path(self) -> str:
        if keras.backend.backend() != "tensorflow":
            return "native"
        import tensorflow as tf

        if tf.config.list_logical_devices("GPU"):
            return "native"
        return "merged" if _has_gradients(self.compute_dtype) else "split"

    def _grouped(self, inputs: KerasTensor, kernel: KerasTensor) -> KerasTensor:
        if keras.backend.backend() != "tensorflow":
            return self.convolution_op(inputs, kernel)
        import tensorflow as tf  # ops.conv wraps the call in an XLA function

        return tf.nn.convolution(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding.upper(),
            dilations=self.dilation_rate,
            data_format="NHWC",  # second derivatives need it in eager mode
        )

    def _split(self, inputs: KerasTensor, kernel: KerasTensor) -> KerasTensor:
        blocks = inputs.shape[-1] // kernel.shape[2]
        parts = zip(
            ops.split(inputs, blocks, axis=-1),
            ops.split(kernel, blocks, axis=-1),
            strict=True,
        )
        return ops.concatenate([self.convolution_op(x, k) for x, k in parts], axis=-1)

    def _merged_kernel(self, channels: int) -> KerasTensor:
        """Returns the same convolution's kernel in groups of at least ``channels``."""
        rows, columns, width, filters = self.kernel.shape
        merged = merged_groups(self.groups, width, channels)
        if merged == 1:
            return self.kernel
        blocks = self.groups // merged
        shape = (rows, columns, 1, width, blocks, merged, filters // self.groups)
        # A constant, because OpenVINO does not support ops.eye.
        diagonal = ops.convert_to_tensor(
            np.eye(merged)[:, None, None, :, None], self.compute_dtype
        )
        kernel = ops.reshape(self.kernel, shape) * diagonal
        return ops.reshape(kernel, (rows, columns, merged * width, filters))


def merged_groups(groups: int, width: int, channels: int) -> int:
    """Returns how many groups, a divisor of ``groups``, to merge into one.

    Args:
        groups: Number of groups.
        width: Channels per group.
        channels: Minimum channels of a merged group; all merge if they have fewer.
    """
    wanted = -(-channels // width)
    return next(n for n in range(min(wanted, groups), groups + 1) if groups % n == 0)


@cache
def _has_gradients(dtype: str) -> bool:
    """Checks whether TensorFlow has grouped convolution's gradients on this CPU."""
    import tensorflow as tf

    with tf.init_scope():  # runs immediately, also during tracing
        kernel, image = tf.zeros((1, 1, 1, 2), dtype), tf.zeros((1, 1, 1, 2), dtype)
        try:
            tf.raw_ops.Conv2DBackpropInput(
                input_sizes=image.shape,
                filter=kernel,
                out_backprop=image,
                strides=[1, 1, 1, 1],
                padding="VALID",
            )
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
    return True
