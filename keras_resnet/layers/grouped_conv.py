"""Grouped convolution: one kernel, several ways to compute it."""

from functools import cache

import keras
import numpy as np
from keras import KerasTensor, ops

from keras_resnet.layers.registry import register

# The paths, and the channels that a group has at least in each: what is fastest on a
# CPU (docs/performance.md). The split path's are AVX-512's vector in float32.
PATHS = {"native": 1, "merged": 8, "split": 16}


@register
class GroupedConv2D(keras.layers.Conv2D):
    """Keras' grouped convolution, trained fast on a CPU too and exported without XLA.

    Same arguments, weights, config and results as ``keras.layers.Conv2D``, so that
    checkpoints are interchangeable whatever path computed them. Keras compiles it with
    XLA on a CPU, where its gradients then take a hundred times as long as they do here:
    oneDNN has them, though TensorFlow's own kernels have not.

    Path ``"native"`` is one call of the backend's grouped convolution; so is
    ``"merged"``, of fewer and wider groups: narrow neighbours become one, whose dense
    kernel has zeros off the diagonal. ``"split"`` is one ungrouped convolution for each
    of these, concatenated.

    Attributes:
        path: One of ``PATHS``, or ``"auto"``: for TensorFlow without a GPU merged where
            oneDNN gives the gradients and split where not, native elsewhere. Not part
            of the config.
    """

    path = "auto"

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Maps ``(N, H, W, C)`` to ``(N, H', W', filters)``."""
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
        import tensorflow as tf  # ops.conv would wrap the call in an XLA function

        return tf.nn.convolution(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding.upper(),
            dilations=self.dilation_rate,
            data_format="NHWC",  # eager second derivatives read it
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
        """The kernel of the same convolution in groups of at least ``channels``."""
        rows, columns, width, filters = self.kernel.shape
        merged = merged_groups(self.groups, width, channels)
        if merged == 1:
            return self.kernel
        blocks = self.groups // merged
        shape = (rows, columns, 1, width, blocks, merged, filters // self.groups)
        # A constant, since OpenVINO lacks the operation of ops.eye.
        diagonal = ops.convert_to_tensor(
            np.eye(merged)[:, None, None, :, None], self.compute_dtype
        )
        kernel = ops.reshape(self.kernel, shape) * diagonal
        return ops.reshape(kernel, (rows, columns, merged * width, filters))


def merged_groups(groups: int, width: int, channels: int) -> int:
    """Returns how many groups make one of at least ``channels``: a divisor.

    Args:
        groups: How many there are.
        width: Channels of each.
        channels: Wanted; all groups are merged where they have fewer.
    """
    wanted = -(-channels // width)
    return next(n for n in range(min(wanted, groups), groups + 1) if groups % n == 0)


@cache
def _has_gradients(dtype: str) -> bool:
    """Whether TensorFlow has a grouped convolution's gradients on this CPU."""
    import tensorflow as tf

    with tf.init_scope():  # at once, though a function is being traced
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
