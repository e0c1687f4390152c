"""Updates a model with one batch, on one or several devices."""

from collections.abc import Sequence
from typing import Any, Protocol

import keras
import numpy as np

from training.data.types import Tensor
from training.engine.forward import ForwardPass


class Update(Protocol):
    """Computes the training step with one backend.

    The result of a step is a vector: the mean loss of the batch, then the batch's
    contributions to ``Metrics.sums``.
    """

    def __call__(self, images: Any, labels: Any) -> Tensor:
        """Updates the variables; returns the result without waiting for it."""

    def read(self, results: Sequence[Tensor]) -> np.ndarray:
        """Waits for the results of steps and returns them, one row for each."""

    def sync(self) -> None:
        """Gives the variables the values of the last step, if they do not have them."""


class TrainingStep:
    """Trains a model one batch at a time, with Keras' backend.

    Args:
        forward: The model and what it minimises.

    Attributes:
        forward: The model and what it minimises.
        model: The model that is evaluated and saved.
        optimizer: The optimizer.
        metrics: The metrics of the epoch so far.
        replicas: The devices that train the model.
    """

    def __init__(self, forward: ForwardPass) -> None:
        self.forward = forward
        self.model = forward.model
        self.optimizer = forward.optimizer
        self.metrics = forward.metrics
        self.replicas = forward.execution.replicas
        self._update = _make_update(forward)
        self._started: list[tuple[Tensor, int]] = []  # result, replicas_per_example
        self.optimizer.build(forward.training_model.trainable_variables)

    @property
    def variables(self) -> list[keras.Variable]:
        """All weights and other state of the trained model and of its average."""
        average = self.model.variables if self.forward.average else []
        return [*self.forward.training_model.variables, *average]

    def start(self, images: Any, labels: Any, replicas_per_example: int = 1) -> None:
        """Updates the weights with one batch, without waiting for the device.

        Args:
            images: Pixels 0–255, ``(N, H, W, C)``, as ``replicas.batches`` yields them.
            labels: Class numbers ``(N,)``, or targets ``(N, classes)``, likewise.
            replicas_per_example: Number of replicas that hold each example.
        """
        result = self._update(images, labels)
        self._started.append((result, replicas_per_example))

    def read(self, running: int = 0) -> list[float]:
        """Waits for started steps, adds them to ``metrics`` and returns their losses.

        A loss is also NaN if a weight or statistic is not finite after the update: a
        ReLU turns NaN into 0, so the loss alone would not show it.

        Args:
            running: Number of the newest steps not to wait for.
        """
        end = max(len(self._started) - running, 0)
        done, self._started = self._started[:end], self._started[end:]
        if not done:
            return []
        rows = self._update.read([results for results, _ in done])
        for row, (_, replicas_per_example) in zip(rows, done, strict=True):
            # Each replica that holds an example has added it to the sums.
            self.metrics.add(row[1:] / replicas_per_example)
        return [float(loss) for loss in rows[:, 0]]

    def step(self, images: Any, labels: Any, replicas_per_example: int = 1) -> float:
        """Updates the weights with one batch, as ``start``, and returns its loss."""
        self.start(images, labels, replicas_per_example)
        return self.read()[-1]

    def sync(self) -> None:
        """Gives the variables the values of the last step, if they do not have them.

        Call it before anything else reads them.
        """
        self._update.sync()


def _make_update(forward: ForwardPass) -> Update:
    """Returns the update for Keras' backend."""
    if keras.backend.backend() == "jax":
        from training.engine.jax_update import JaxUpdate

        return JaxUpdate(forward)
    from training.engine.tensorflow_update import TensorFlowUpdate

    return TensorFlowUpdate(forward)
