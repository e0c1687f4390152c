"""A moving average of a network in training."""

import keras
import tensorflow as tf

from training.data.types import Tensor


class Average:
    """Keeps a network at the moving average of the one that is trained.

    Averaged are the weights and the statistics of batch norms, which belong to them;
    Keras' ``use_ema`` leaves these out. While the run is young the decay is
    (1 + step)/(10 + step), so that the random beginning is soon forgotten.

    Args:
        model: Holds the average.
        trained: The same network, trained; it begins where ``model`` is.
        decay: Of the average, a step; 0 makes it a copy.

    Reference: Polyak & Juditsky, 1992; the young decay is TensorFlow's
    ``ExponentialMovingAverage``.
    """

    def __init__(self, model: keras.Model, trained: keras.Model, decay: float) -> None:
        pairs = zip(model.variables, trained.variables, strict=True)
        self._pairs = [(a, b) for a, b in pairs if a.dtype == "float32"]
        self._decay = decay
        for average, weight in self._pairs:
            weight.assign(average)

    def update(self, step: Tensor) -> None:
        """Takes the trained network's state after optimizer step ``step``, from 1."""
        step = tf.cast(step, tf.float32)
        decay = tf.minimum(self._decay, (1 + step) / (10 + step))
        for average, weight in self._pairs:
            average.assign(weight + decay * (average - weight))
