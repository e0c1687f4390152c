"""Implements batch normalisation with TensorFlow's fused kernel."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import KerasTensor

from keras_resnet.layers.nested import leaf_layers
from keras_resnet.layers.registry import register


@register
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation with TensorFlow's fused kernel.

    Arguments, weights, config and results equal ``keras.layers.BatchNormalization``,
    which computes moments and normalisation in separate operations and, under mixed
    precision, in float32. The fused kernel reads half-precision images directly and
    keeps γ, β and the statistics in float32. Synchronised statistics, for which Keras
    exchanges five vectors among replicas, need one exchange in each direction. The
    layer uses Keras' implementation on another backend, with a mask, without exactly
    four axes, and for weights in half precision.

    Training raises ``tf.errors.InvalidArgumentError`` if the batch's mean or variance
    is not finite. On a CPU, oneDNN fuses the norm with the following ReLU into a kernel
    that maps NaN to 0. Without the check, the loss would stay finite while the moving
    statistics became NaN permanently.

    Attributes:
        checks: Whether training checks the batch's statistics. XLA ignores the check;
            its ReLU keeps NaN. Not part of the config.
    """

    checks = True

    def call(
        self, inputs: KerasTensor, training: bool | None = None, mask: Any = None
    ) -> KerasTensor:
        """Normalises ``(N, H, W, C)`` with the batch's or the moving statistics."""
        if not self._fuses(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        channels = inputs.shape[-1]
        scale = self.gamma if self.scale else tf.ones(channels)
        offset = self.beta if self.center else tf.zeros(channels)
        if not (training and self.trainable):
            moving = (self.moving_mean, self.moving_variance)
            return _fused(inputs, scale, offset, self.epsilon, moving)[0]
        if self.synchronized:
            y, mean, variance = _synchronized(inputs, scale, offset, self.epsilon)
        else:
            y, mean, variance = _fused(inputs, scale, offset, self.epsilon)
            # The kernel returns the unbiased variance; Keras averages the biased one.
            count = _count(inputs)
            variance = variance * ((count - 1) / count)
        with tf.control_dependencies(self._checked(mean + variance)):
            self._average(self.moving_mean, mean)
            self._average(self.moving_variance, variance)
        return y

    def _checked(self, statistics: Any) -> list[Any]:
        """Returns the checks to run before the moving statistics are updated."""
        import tensorflow as tf

        if not self.checks:
            return []
        message = (
            f"the batch's mean and variance in {self.name} must be finite, got NaN or "
            "infinity; check the images and labels, or lower the learning rate"
        )
        return [tf.debugging.check_numerics(statistics, message)]

    def _average(self, moving: Any, new: Any) -> None:
        moving.assign(moving * self.momentum + new * (1.0 - self.momentum))

    def _fuses(self, inputs: KerasTensor, mask: Any) -> bool:
        return (
            keras.backend.backend() == "tensorflow"
            and not self.renorm
            and mask is None
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.variable_dtype == "float32"  # dtype of γ, β and statistics
            and self.compute_dtype in ("float32", "bfloat16", "float16")
        )


def _fused(x: Any, scale: Any, offset: Any, epsilon: float, moments: Any = None) -> Any:
    """Normalises ``x`` by the given or its own moments; returns ``x`` and moments."""
    import tensorflow as tf

    mean, variance = moments or ([], [])
    return tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=scale,
        offset=offset,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        is_training=moments is None,
    )[:3]


def _synchronized(x: Any, scale: Any, offset: Any, epsilon: float) -> Any:
    """Normalises ``x`` by the moments of all replicas; returns ``x`` and the moments.

    The variance is biased, unlike that of the kernel.
    """
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()

    def summed(*vectors: Any) -> Any:
        """Adds the vectors of all replicas in one exchange."""
        total = tf.concat(vectors, 0)
        if replica is not None:
            total = replica.all_reduce(tf.distribute.ReduceOp.SUM, total)
        return tf.split(total, [vector.shape[0] for vector in vectors])

    @tf.custom_gradient
    def normalised(x: Any, scale: Any, offset: Any) -> Any:
        wide = tf.cast(x, tf.float32)
        sums = [tf.reduce_sum(t, (0, 1, 2)) for t in (wide, tf.square(wide))]
        total, squares, count = summed(*sums, _count(x)[None])
        mean = total / count
        variance = tf.maximum(squares / count - tf.square(mean), 0)
        y = _fused(x, scale, offset, epsilon, (mean, variance))[0]

        def gradient(dy: Any, *_: Any) -> Any:
            wide, dy = tf.cast(x, tf.float32), tf.cast(dy, tf.float32)
            narrow = tf.math.rsqrt(variance + epsilon)
            unit = (wide - mean) * narrow
            mine = [tf.reduce_sum(t, (0, 1, 2)) for t in (dy * unit, dy)]
            dscale, doffset = (total / count for total in summed(*mine))
            dx = scale * narrow * (dy - doffset - unit * dscale)
            return tf.cast(dx, x.dtype), *mine

        return (y, mean, variance), gradient

    return normalised(x, tf.convert_to_tensor(scale), tf.convert_to_tensor(offset))


def _count(x: Any) -> Any:
    """Returns the number of values per channel."""
    import tensorflow as tf

    return tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float32)


def moving_statistics(model: keras.Model) -> list[keras.Variable]:
    """Returns the moving means and variances that training updates."""
    norms = [layer for layer in _batch_norms(model) if layer.trainable]
    return [x for n in norms for x in (n.moving_mean, n.moving_variance)]


@contextmanager
def synchronized(model: keras.Model, wanted: bool = True) -> Iterator[None]:
    """Computes batch statistics over all replicas inside the block, if ``wanted``.

    The network is restored afterwards: on one device and in saved files, nothing is
    synchronised.
    """
    norms = [x for x in _batch_norms(model) if not x.synchronized]
    for layer in norms:
        layer.synchronized = wanted
    try:
        yield
    finally:
        for layer in norms:
            layer.synchronized = False


@contextmanager
def unchecked(model: keras.Model) -> Iterator[None]:
    """Disables the batch norms' check for NaN inside the ``with`` block.

    This serves a training loop that checks the whole state itself.
    """
    norms = [x for x in _batch_norms(model) if x.checks]
    for layer in norms:
        layer.checks = False
    try:
        yield
    finally:
        for layer in norms:
            layer.checks = True


def _batch_norms(model: keras.Model) -> list[BatchNormalization]:
    return [x for x in leaf_layers(model) if isinstance(x, BatchNormalization)]
