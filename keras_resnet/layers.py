"""The few layers that Keras lacks, or that are faster or more exact here."""

from typing import Any

import keras
from keras import KerasTensor, ops

register = keras.saving.register_keras_serializable("keras_resnet")


@register
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation on TensorFlow's fused kernel.

    Same arguments, weights, config and results as ``keras.layers.BatchNormalization``,
    which computes moments and normalisation in separate operations and, under mixed
    precision, in float32. The fused kernel reads half-precision images directly and
    keeps γ, β and the statistics in float32. Where the kernel does not apply (another
    backend, statistics synchronised over replicas, a mask, other than four axes) the
    Keras implementation runs.
    """

    def call(
        self, inputs: KerasTensor, training: bool | None = None, mask: Any = None
    ) -> KerasTensor:
        """Normalises ``(N, H, W, C)`` by the batch's or the moving statistics."""
        if not self._fuses(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        batch_statistics = bool(training and self.trainable)
        channels = inputs.shape[-1]
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma if self.scale else tf.ones(channels),
            offset=self.beta if self.center else tf.zeros(channels),
            mean=[] if batch_statistics else self.moving_mean,
            variance=[] if batch_statistics else self.moving_variance,
            epsilon=self.epsilon,
            is_training=batch_statistics,
        )
        if batch_statistics:
            # The kernel returns the unbiased variance; Keras averages the biased one.
            count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
            self._average(self.moving_mean, mean)
            self._average(self.moving_variance, variance * ((count - 1) / count))
        return y

    def _average(self, moving: Any, new: Any) -> None:
        moving.assign(moving * self.momentum + new * (1.0 - self.momentum))

    def _fuses(self, inputs: KerasTensor, mask: Any) -> bool:
        return (
            keras.backend.backend() == "tensorflow"
            and not (self.synchronized or self.renorm)
            and mask is None
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.compute_dtype in ("float32", "bfloat16", "float16")
        )


@register
class MaxPooling2D(keras.layers.MaxPooling2D):
    """Max pooling padded symmetrically by ``pool_size // 2`` of −∞.

    Repeating the border pixels gives that very result, since each lies in every window
    that reaches its copy, and unlike −∞ it survives integer quantisation.
    """

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Pools ``(N, H, W, C)`` to ``(N, ⌈H/s⌉, ⌈W/s⌉, C)`` for an odd pool size."""
        rows, columns = (size // 2 for size in self.pool_size)
        padding = ((0, 0), (rows, rows), (columns, columns), (0, 0))
        return super().call(ops.pad(inputs, padding, mode="symmetric"))

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the shape after padding and pooling."""
        padded = [
            None if side is None else side + 2 * (size // 2)
            for side, size in zip(input_shape[1:3], self.pool_size, strict=True)
        ]
        shape = (input_shape[0], *padded, input_shape[3])
        return super().compute_output_shape(shape)


@register
class ZeroPaddedShortcut(keras.layers.Layer):
    """Shortcut option A: every ``stride``-th pixel, new channels filled with zeros.

    Free of parameters. Reference: He et al., "Deep Residual Learning for Image
    Recognition", 2016, section 3.3 (A).

    Args:
        filters: Channels of the output, at least the input's.
        stride: Step in pixels.
        **kwargs: Of ``keras.layers.Layer``.
    """

    def __init__(self, filters: int, stride: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.stride = stride

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Maps ``(N, H, W, C)`` to ``(N, ⌈H/s⌉, ⌈W/s⌉, filters)``."""
        x = inputs[:, :: self.stride, :: self.stride]
        new = self.filters - inputs.shape[-1]
        return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, new)))

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns ``(N, ⌈H/s⌉, ⌈W/s⌉, filters)``."""
        sides = (None if n is None else -(-n // self.stride) for n in input_shape[1:3])
        return (input_shape[0], *sides, self.filters)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        return {**config, "filters": self.filters, "stride": self.stride}
