"""Grouped convolution: one kernel, several ways to compute it."""

import keras
from keras import KerasTensor, ops

from keras_resnet.layers.registry import register


@register
class GroupedConv2D(keras.layers.Conv2D):
    """Keras' grouped convolution, trained fast on a CPU too and exported without XLA.

    Same arguments, weights, config and results as ``keras.layers.Conv2D``, so that
    checkpoints are interchangeable whatever path computed them. TensorFlow has no
    gradient of a grouped convolution on every CPU, which is why Keras compiles it with
    XLA there, a hundred times slower than this layer's path ``"split"``: one dense
    convolution a block of neighbouring groups, concatenated. Groups of few channels are
    merged to blocks of at least ``SPLIT_CHANNELS``, whose dense kernels have zeros off
    the diagonal. Path ``"native"`` is one call of the backend's grouped convolution.

    Attributes:
        path: ``"native"``, ``"split"`` or ``"auto"``: split for TensorFlow without a
            GPU, native elsewhere. Not part of the config.
    """

    path = "auto"

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Maps ``(N, H, W, C)`` to ``(N, H', W', filters)``."""
        path = self._best_path() if self.path == "auto" else self.path
        y = self._split(inputs) if path == "split" else self._native(inputs)
        y = ops.add(y, self.bias) if self.use_bias else y
        return y if self.activation is None else self.activation(y)

    def _best_path(self) -> str:
        if keras.backend.backend() != "tensorflow":
            return "native"
        import tensorflow as tf

        return "native" if tf.config.list_logical_devices("GPU") else "split"

    def _native(self, inputs: KerasTensor) -> KerasTensor:
        if keras.backend.backend() != "tensorflow":
            return self.convolution_op(inputs, self.kernel)
        import tensorflow as tf  # ops.conv would wrap the call in an XLA function

        return tf.nn.convolution(
            inputs,
            self.kernel,
            strides=self.strides,
            padding=self.padding.upper(),
            dilations=self.dilation_rate,
        )

    def _split(self, inputs: KerasTensor) -> KerasTensor:
        rows, columns, width, filters = self.kernel.shape
        merged = merged_groups(self.groups, width)
        blocks = self.groups // merged
        kernel = ops.reshape(
            self.kernel, (rows, columns, width, blocks, merged, filters // self.groups)
        )
        diagonal = ops.eye(merged, dtype=self.compute_dtype)
        kernel = ops.einsum("hwibgo,kg->bhwkigo", kernel, diagonal)
        kernel = ops.reshape(
            kernel, (blocks, rows, columns, merged * width, filters // blocks)
        )
        parts = zip(
            ops.split(inputs, blocks, axis=-1), ops.unstack(kernel), strict=True
        )
        return ops.concatenate([self.convolution_op(x, k) for x, k in parts], axis=-1)


# The vector width of AVX-512 in float32; narrower blocks waste it. docs/performance.md
SPLIT_CHANNELS = 16


def merged_groups(groups: int, width: int) -> int:
    """Returns how many groups of ``width`` channels make one block: a divisor."""
    wanted = -(-SPLIT_CHANNELS // width)
    return next(n for n in range(min(wanted, groups), groups + 1) if groups % n == 0)
