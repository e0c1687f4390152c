"""The training step and the one loop around it.

The loop is ours because ``keras.Model.fit`` can neither resume within an epoch nor
train under every distribution strategy; callbacks and progress bar are Keras' own.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import keras
import tensorflow as tf

from keras_resnet.errors import Stopped
from keras_resnet.models import AuxiliarySpec, find_spec, with_auxiliary
from training import optimizers
from training.accumulation import accumulated
from training.averaging import Average
from training.checkpoint import Checkpoints
from training.images import Tensor
from training.losses import dominant, make_loss
from training.metrics import Logs, Metrics
from training.preprocessing import Preprocessing
from training.recipe import Recipe


class Trainer:
    """A network with what it takes to train it.

    Args:
        model: Normalised images → float32 logits.
        prepared: Normalises pixels.
        optimizer: Updates the trainable variables.
        recipe: Loss, weight decay, moving average and the network's spec.
        twin: The same network, to be trained in the place of ``model``, which then
            holds the moving average of it.
        jit_compile: Compile the step with XLA.

    Attributes:
        model: The network that is evaluated and saved.
        network: The network as it is trained, with its auxiliary classifiers if any.
        optimizer: The optimizer.
        metrics: Of the epoch so far: the loss that is minimised, and top-1 accuracy
            (of mixed images, for the class that has most of them).
    """

    def __init__(
        self,
        model: keras.Model,
        prepared: Preprocessing,
        *,
        optimizer: keras.optimizers.Optimizer,
        recipe: Recipe,
        twin: keras.Model | None = None,
        jit_compile: bool = False,
    ) -> None:
        self.model = model
        trained = model if twin is None else twin
        self._average = None if twin is None else Average(model, twin, recipe.ema)
        self.network, self._auxiliary_weight = trained, 0.0
        spec = find_spec(recipe.model, **recipe.spec_fields)
        if isinstance(spec, AuxiliarySpec):
            self.network = with_auxiliary(trained, spec)
            self._auxiliary_weight = spec.auxiliary_weight
        self.optimizer = optimizer
        self.metrics = Metrics(("loss", "top1"), model.output_shape[-1])
        self._prepared = prepared
        self._loss = make_loss(recipe, model.output_shape[-1])
        self._parts = recipe.accumulation
        trainable = self.network.trainable_variables
        decayed = optimizers.decayed(recipe, trainable)
        self._penalised = decayed if recipe.optimizer == "sgd" else []
        self._decay = recipe.weight_decay
        self._state = [v for v in self.network.variables if v.dtype == "float32"]
        self._step = tf.function(self._training_step, jit_compile=jit_compile)
        known = {id(v) for v in decayed}
        spared = [v for v in trainable if id(v) not in known]
        optimizers.build(optimizer, trainable, spared)

    @property
    def variables(self) -> list[keras.Variable]:
        """All weights and other states: the trained network's, and its average."""
        average = self.model.variables if self._average else []
        return [*self.network.variables, *average]

    def step(self, images: Tensor, labels: Tensor) -> float:
        """Updates the weights by one batch; returns the mean of its losses.

        The value is NaN too where a weight or statistic is no longer finite after the
        update: a ReLU passes NaN on as 0, so the loss alone would not show it.

        Args:
            images: Pixels 0–255, ``(N, H, W, C)``.
            labels: Class numbers ``(N,)``, or targets ``(N, classes)``.
        """
        return float(self._step(images, labels))

    def _training_step(self, images: Tensor, labels: Tensor) -> Tensor:
        variables = self.network.trainable_variables
        loss, *gradients = accumulated(
            self._part,
            images,
            labels,
            self._parts,
            like=[tf.constant(0.0), *(v.value for v in variables)],
        )
        self.optimizer.apply(gradients, variables)
        if self._average:
            self._average.update(self.optimizer.iterations)
        state = [tf.nn.l2_loss(v.value) for v in self._state]
        return tf.where(tf.math.is_finite(tf.add_n(state)), loss, math.nan)

    def _part(self, images: Tensor, labels: Tensor, share: float) -> list[Tensor]:
        """Loss and gradients of a part, ``share`` of a batch."""
        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            outputs = self.network(self._prepared.normalise(images), training=True)
            logits, *auxiliary = outputs if isinstance(outputs, list) else [outputs]
            losses = self._loss(labels, logits)
            loss = tf.reduce_mean(losses)
            objective = loss
            if self._penalised:
                penalty = tf.add_n([tf.nn.l2_loss(v.value) for v in self._penalised])
                objective += self._decay * penalty
            for others in auxiliary:
                beside = tf.reduce_mean(self._loss(labels, others))
                objective += self._auxiliary_weight * beside
            objective = self.optimizer.scale_loss(share * objective)
        self.metrics.update(losses, logits, dominant(labels))
        gradients = tape.gradient(objective, variables, unconnected_gradients="zero")
        return [share * loss, *gradients]


class StopRequest:
    """Turns SIGINT and SIGTERM into a flag that the loop looks at after each step.

    Attributes:
        signal: The signal's number, None as long as none came.
    """

    signal: int | None = None

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Listens inside the ``with`` block; a second signal acts as it always did."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.getsignal(number) for number in numbers}

        def note(number: int, frame: FrameType | None) -> None:
            self.signal = number
            signal.signal(number, before[signal.Signals(number)])

        for number in numbers:
            signal.signal(number, note)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def fit(
    trainer: Trainer,
    checkpoints: Checkpoints,
    callbacks: keras.callbacks.CallbackList,
    *,
    epochs: int,
    batches: Callable[[int, int], tf.data.Dataset],
    validate: Callable[[], Logs],
) -> None:
    """Trains from where ``checkpoints`` stands to the end of the last epoch.

    Args:
        trainer: The network and its optimizer.
        checkpoints: Holds the position; a checkpoint is saved after every epoch, and
            when SIGINT or SIGTERM asks to stop.
        callbacks: Keras callbacks.
        epochs: Number of epochs.
        batches: Maps epoch and first step to the epoch's batches from there.
        validate: Returns the validation logs after an epoch.

    Raises:
        Stopped: The loss became NaN or infinite, or a signal asked to stop.
    """
    trainer.model.stop_training = False  # Keras callbacks set it
    callbacks.on_train_begin()
    try:
        with StopRequest().listening() as request:
            for epoch in range(int(checkpoints.epoch), epochs):
                callbacks.on_epoch_begin(epoch)
                logs = _epoch(trainer, checkpoints, callbacks, batches, request)
                logs |= _validation(epoch, validate)
                callbacks.on_epoch_end(epoch, logs)
                checkpoints.epoch.assign(epoch + 1)
                checkpoints.step.assign(0)
                checkpoints.save()
                _heed(request, checkpoints)
                if trainer.model.stop_training:
                    break
    finally:
        callbacks.on_train_end()


def _epoch(
    trainer: Trainer,
    checkpoints: Checkpoints,
    callbacks: keras.callbacks.CallbackList,
    batches: Callable[[int, int], tf.data.Dataset],
    request: StopRequest,
) -> Logs:
    """Trains what is left of an epoch; returns its logs."""
    first = int(checkpoints.step)
    if first == 0:
        trainer.metrics.reset()
    began, images_seen = time.perf_counter(), 0
    for step, (images, labels) in enumerate(
        batches(int(checkpoints.epoch), first), first
    ):
        callbacks.on_train_batch_begin(step)
        loss = trainer.step(images, labels)
        _require_finite(loss, f"step {step + 1} of epoch {int(checkpoints.epoch) + 1}")
        checkpoints.step.assign(step + 1)
        callbacks.on_train_batch_end(step, trainer.metrics.result())
        images_seen += len(labels)
        if request.signal is not None:
            checkpoints.save()
            _heed(request, checkpoints)
    seconds = time.perf_counter() - began
    rate = trainer.optimizer.learning_rate
    return trainer.metrics.result() | {
        "learning_rate": float(rate),
        "seconds": seconds,
        "images_per_second": images_seen / seconds,
    }


def _validation(epoch: int, validate: Callable[[], Logs]) -> Logs:
    logs = validate()
    _require_finite(logs["loss"], f"the validation after epoch {epoch + 1}")
    return {f"val_{name}": value for name, value in logs.items()}


def _heed(request: StopRequest, checkpoints: Checkpoints) -> None:
    """Stops, once the state is saved, if a signal asked to."""
    if request.signal is not None:
        raise Stopped(
            f"stopped by {signal.Signals(request.signal).name}, saved at step "
            f"{int(checkpoints.step)} of epoch {int(checkpoints.epoch) + 1}: continue "
            "with --resume",
            128 + request.signal,
        )


def _require_finite(loss: float, where: str) -> None:
    if not math.isfinite(loss):
        raise Stopped(
            f"loss must be finite, got {loss} at {where}; what was saved before is "
            "kept: train anew with a lower learning rate, a longer warm-up or a wider "
            "precision"
        )
