"""The training state on disk: complete or invisible."""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from training.images import Tensor
from training.metrics import Metrics

KEEP = 2  # newest checkpoints that stay


class Checkpoints:
    """Saves and restores all that a run's future depends on.

    Weights, optimizer, seed generators and metrics (a run may stop within an epoch),
    and the run's position: ``epoch`` and ``step`` within it, and ``best``, the highest
    validation accuracy so far.

    Args:
        folder: Where the checkpoints are kept.
        model: The network.
        optimizer: Built for the network's trainable variables.
        metrics: The training metrics.
    """

    def __init__(
        self,
        folder: Path,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        metrics: Metrics,
    ) -> None:
        self.epoch = tf.Variable(0, dtype=tf.int64)
        self.step = tf.Variable(0, dtype=tf.int64)
        self.best = tf.Variable(-1.0, dtype=tf.float64)
        state: Any = tf.train.Checkpoint(
            # By variable, since seed generators are no part of Keras' own tracking.
            model=_by_path(model.variables),
            optimizer=_by_path(optimizer.variables),
            metrics=_by_path(metrics.variables),
            epoch=self.epoch,
            step=self.step,
            best=self.best,
        )
        self._state = state
        self._manager = tf.train.CheckpointManager(state, str(folder), KEEP)

    def save(self) -> None:
        """Saves the state as the newest checkpoint."""
        self._manager.save()

    def restore(self) -> bool:
        """Restores the newest checkpoint; returns False where there is none."""
        newest = self._manager.latest_checkpoint
        if newest is None:
            return False
        self._state.restore(newest).assert_consumed()
        return True


def _by_path(variables: list[Any]) -> dict[str, Tensor]:
    return {f"{i}:{v.path}": v.value for i, v in enumerate(variables)}
