"""Batch normalisation on TensorFlow's fused kernel."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import KerasTensor

from keras_resnet.layers.nested import leaf_layers
from keras_resnet.layers.registry import register


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


@contextmanager
def synchronized(model: keras.Model, wanted: bool = True) -> Iterator[None]:
    """Takes a network's batch statistics over all replicas inside the ``with`` block.

    The network itself stays as it is: on one device, and in what is saved, nothing is
    synchronised.

    Args:
        model: The network.
        wanted: Do so; if not, nothing changes.
    """
    norms = [
        layer
        for layer in leaf_layers(model)
        if isinstance(layer, BatchNormalization) and not layer.synchronized
    ]
    for layer in norms:
        layer.synchronized = wanted
    try:
        yield
    finally:
        for layer in norms:
            layer.synchronized = False
