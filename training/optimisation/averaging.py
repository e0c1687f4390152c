"""Maintains a moving average of a model during training."""

import keras
from keras import ops

from training.data.types import Tensor


class Average:
    """Keeps one model equal to the moving average of another that is trained.

    The average includes the weights and the statistics of batch norms, which belong to
    them and which Keras' ``use_ema`` omits. Early in a run the decay is
    (1 + step)/(10 + step), so that the random initialisation is soon forgotten.

    Args:
        model: Holds the average.
        trained: The trained model of the same network; it starts as ``model``.
        decay: Decay of the average per step; 0 makes it a copy.

    Reference: Polyak & Juditsky, 1992; the early decay is that of TensorFlow's
    ``ExponentialMovingAverage``.
    """

    def __init__(self, model: keras.Model, trained: keras.Model, decay: float) -> None:
        pairs = zip(model.variables, trained.variables, strict=True)
        self._pairs = [(a, b) for a, b in pairs if a.dtype == "float32"]
        self._decay = decay
        for average, weight in self._pairs:
            weight.assign(average)

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables of the average, which ``update`` changes."""
        return [average for average, _ in self._pairs]

    def update(self, step: Tensor) -> None:
        """Updates the average after the optimizer's step ``step``, counted from 1."""
        step = ops.cast(step, "float32")
        decay = ops.minimum(self._decay, (1 + step) / (10 + step))
        for average, weight in self._pairs:
            average.assign(weight + decay * (average - weight))
