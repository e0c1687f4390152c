"""Runs the training loop over epochs and batches.

It replaces ``keras.Model.fit``, which can neither resume within an epoch nor train
under every distribution strategy. Callbacks are Keras callbacks.
"""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from keras_resnet.errors import Stopped
from training.distributed.backend import backend
from training.distributed.replicas import Replicas
from training.engine.checkpoint import Checkpoints
from training.engine.pace import Pace
from training.engine.progress import Progress
from training.engine.saving import CheckpointTimer
from training.engine.step import TrainingStep
from training.engine.stopping import StopRequest
from training.engine.waiting import DataWaitTimer
from training.evaluation.predictions import Logs
from training.optimisation.optimizers import last_rate

# Maps an epoch and its first step to batches, as ``TrainingStep.start`` takes them:
# images, labels and the number of replicas that hold each example.
EpochBatches = Callable[[int, int], Iterable[tuple[Any, Any, int]]]


def fit(
    training_step: TrainingStep,
    checkpoints: Checkpoints,
    callbacks: keras.callbacks.CallbackList,
    *,
    epochs: int,
    batches: EpochBatches,
    validate: Callable[[], Logs],
) -> None:
    """Trains from the position in ``checkpoints`` to the end of the last epoch.

    A checkpoint is saved after every epoch, when one is due within an epoch, and when
    SIGINT or SIGTERM stops this or another worker. The callbacks' ``on_epoch_end`` runs
    after the epoch's checkpoint is saved.

    Args:
        training_step: The training step, with the model and its optimizer.
        checkpoints: Saves the state and holds the position.
        callbacks: Keras callbacks.
        epochs: Number of epochs of the whole run.
        batches: Maps an epoch and its first step, both from 0, to the remaining batches
            ``(images, labels, replicas per example)`` of the epoch.
        validate: Returns the validation logs after an epoch.

    Raises:
        Stopped: The loss became NaN or infinite, or a signal stopped the run.
    """
    progress = checkpoints.progress
    # A callback of an earlier training may have set it.
    training_step.model.stop_training = False
    callbacks.on_train_begin()
    try:
        with StopRequest().listening() as request:
            while progress.epoch < epochs and not training_step.model.stop_training:
                epoch = progress.epoch
                callbacks.on_epoch_begin(epoch)
                logs = _train_epoch(
                    training_step, checkpoints, callbacks, batches, request
                )
                logs |= _validate(epoch, validate)
                progress.end_epoch(logs)
                checkpoints.save()
                callbacks.on_epoch_end(epoch, logs)
                if training_step.replicas.any(request.signal is not None):
                    _stop(request, training_step, checkpoints)
    finally:
        callbacks.on_train_end()


def _train_epoch(
    training_step: TrainingStep,
    checkpoints: Checkpoints,
    callbacks: keras.callbacks.CallbackList,
    batches: EpochBatches,
    request: StopRequest,
) -> Logs:
    """Trains the rest of an epoch and returns its logs.

    These are ``loss`` (nats), ``top1`` and ``waiting`` (0 to 1), ``learning_rate``,
    ``seconds``, ``images_per_second`` and ``memory_gib``.
    """
    progress, metrics = checkpoints.progress, training_step.metrics
    metrics.reset()
    if progress.sums:  # resumed within the epoch
        metrics.sums = np.array(progress.sums)
    waiting = DataWaitTimer()
    results = _Results(training_step, progress, waiting)
    checkpoint_timer, pace = CheckpointTimer(checkpoints.saving), Pace()
    # Alone, the loop obeys a signal at once. Several workers agree when they read
    # results, so that all stop at the same step.
    alone = training_step.replicas.workers == 1
    for batch in waiting.iterate(batches(progress.epoch, progress.step)):
        step = progress.step
        callbacks.on_train_batch_begin(step)
        training_step.start(*batch)
        progress.step = step + 1
        due = pace.count_step() or (alone and request.signal is not None)
        if due:
            # The newest step goes on, so that the device is not idle. If steps take
            # long, waiting for it costs little.
            results.read(running=1 if pace.steps > 1 else 0)
        logs = metrics.result() | {"examples": metrics.examples}
        callbacks.on_train_batch_end(step, logs)
        if due and _agree(request, training_step.replicas, pace):
            results.read()
            _stop(request, training_step, checkpoints)
        if checkpoint_timer.count_step():
            results.read()
            _save(training_step, checkpoints)
            checkpoint_timer.restart()
    results.read()
    training_step.sync()
    return metrics.result() | {
        "learning_rate": last_rate(training_step.optimizer),
        "seconds": progress.seconds,
        "images_per_second": metrics.examples / progress.seconds,
        "waiting": waiting.share,
        "memory_gib": backend.peak_memory(),
    }


class _Results:
    """Reads the results of an epoch's steps; raises if a loss is not finite."""

    def __init__(
        self, training_step: TrainingStep, progress: Progress, waiting: DataWaitTimer
    ) -> None:
        self._training_step = training_step
        self._progress, self._waiting = progress, waiting
        # As if the epoch's earlier sessions had run without a break.
        self._began = time.perf_counter() - progress.seconds
        self._read = progress.step  # number of steps whose results are read

    def read(self, running: int = 0) -> None:
        """Waits for all but the ``running`` newest steps."""
        progress = self._progress
        for loss in self._waiting.read(lambda: self._training_step.read(running)):
            self._read += 1
            _require_finite(loss, f"at step {self._read} of epoch {progress.epoch + 1}")
        progress.sums = self._training_step.metrics.sums.tolist()
        progress.seconds = time.perf_counter() - self._began


def _agree(request: StopRequest, replicas: Replicas, pace: Pace) -> bool:
    """Agrees with the other workers on the next read; returns whether to stop."""
    stop, steps = replicas.agreed(request.signal is not None, pace.proposed())
    pace.restart(steps)
    return stop


def _validate(epoch: int, validate: Callable[[], Logs]) -> Logs:
    logs = validate()
    _require_finite(logs["loss"], f"in the validation after epoch {epoch + 1}")
    return {f"val_{name}": value for name, value in logs.items()}


def _save(training_step: TrainingStep, checkpoints: Checkpoints) -> None:
    training_step.sync()
    checkpoints.save()


def _stop(
    request: StopRequest, training_step: TrainingStep, checkpoints: Checkpoints
) -> None:
    """Saves the state, on all workers at the same step, and stops."""
    _save(training_step, checkpoints)
    # A worker that exits early would end the one that writes.
    training_step.replicas.wait()
    raise request.stopped(checkpoints.progress)


def _require_finite(loss: float, where: str) -> None:
    if not math.isfinite(loss):
        raise Stopped(
            f"loss must be finite, got {loss} {where}; train again with a lower "
            "learning rate, a longer warm-up or a wider precision (the last checkpoint "
            "is kept)"
        )
