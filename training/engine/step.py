"""The training step: one network, updated by one batch, on one replica or many."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_resnet.layers import GroupedConv2D, leaf_layers, synchronized, unchecked
from training.data.preprocessing import Preprocessing
from training.data.types import Tensor
from training.distributed.replicas import Replicas, clipped, global_count
from training.evaluation.metrics import Metrics
from training.optimisation.accumulation import accumulated
from training.optimisation.averaging import Average
from training.optimisation.losses import dominant
from training.optimisation.objective import Objective


@dataclass(frozen=True)
class TrainedModel:
    """A model, and the network that is trained in its place.

    Attributes:
        model: The model that is evaluated and saved: normalised images → float32
            logits.
        network: What is trained: ``model``, a model that shares its layers and has the
            logits of auxiliary classifiers as further outputs, or a model whose moving
            average ``model`` is.
        average: Updates that average; None: there is none.
    """

    model: keras.Model
    network: keras.Model
    average: Average | None = None


class TrainingStep:
    """A network with what it takes to train it.

    Args:
        trained: The model.
        preprocessing: Normalises pixels.
        objective: What is minimised.
        optimizer: Updates the trainable variables.
        accumulation: Parts in which a batch is computed.
        jit_compile: Compile the step with XLA.

    Attributes:
        model: The model that is evaluated and saved.
        network: The model that is trained.
        optimizer: The optimizer.
        metrics: Of the epoch so far: the mean loss, without weight decay and auxiliary
            classifiers, and top-1 accuracy (of mixed images, for the class that has
            most of them).
        replicas: Those of the strategy in whose scope the step was made.
    """

    def __init__(
        self,
        trained: TrainedModel,
        preprocessing: Preprocessing,
        objective: Objective,
        optimizer: keras.optimizers.Optimizer,
        *,
        accumulation: int = 1,
        jit_compile: bool = False,
    ) -> None:
        self.model = trained.model
        self.network = network = trained.network
        self._average = trained.average
        self.optimizer = optimizer
        if jit_compile and not tf.config.list_logical_devices("GPU"):
            # XLA's gradients of a grouped convolution take 70 times as long on a CPU.
            for layer in leaf_layers(network):
                if isinstance(layer, GroupedConv2D):
                    layer.path = "split"
        self.metrics = Metrics("top1")
        self.replicas = Replicas()
        self._preprocessing = preprocessing
        self._objective = objective
        self._parts = accumulation
        self._clip: float | None = None
        if self.replicas.count > 1:  # Keras would cut each replica's part by itself
            self._clip, optimizer.global_clipnorm = optimizer.global_clipnorm, None
        trainable = network.trainable_variables
        self._penalised = objective.penalised(trainable)
        self._state = [v for v in network.variables if v.dtype == "float32"]
        self._step = tf.function(self._all_replicas, jit_compile=jit_compile)
        optimizer.build(trainable)

    @property
    def variables(self) -> list[keras.Variable]:
        """All weights and other states: the trained network's, and its average."""
        average = self.model.variables if self._average else []
        return [*self.network.variables, *average]

    def step(self, images: Any, labels: Any, copies: int = 1) -> float:
        """Updates the weights by one batch; returns the mean of its losses.

        The value is NaN too where a weight or statistic is no longer finite after the
        update: a ReLU passes NaN on as 0, so the loss alone would not show it.

        Args:
            images: Pixels 0–255, ``(N, H, W, C)``, as ``replicas.batches`` yields them.
            labels: Class numbers ``(N,)``, or targets ``(N, classes)``, likewise.
            copies: How many replicas hold each example.
        """
        loss, *measured = self._step(images, labels).numpy()
        self.metrics.add(np.divide(measured, copies))
        return float(loss)

    def _all_replicas(self, images: Any, labels: Any) -> Tensor:
        """The step on all replicas; returns the mean loss, then ``metrics.sums``."""
        # The step checks the whole state: an error on one worker would leave the others
        # waiting for it.
        together = synchronized(self.network, self.replicas.count > 1)
        with together, unchecked(self.network):
            measured = self.replicas.run(self._training_step, images, labels)
        if self._average:
            self._average.update(self.optimizer.iterations)
        return self.replicas.summed(measured)

    def _training_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One replica's step; what it returns is summed over replicas."""
        variables = self.network.trainable_variables
        compute = partial(self._part, examples=global_count(labels))
        measured, *gradients = accumulated(
            compute,
            images,
            labels,
            self._parts,
            like=[tf.zeros(1 + len(self.metrics.sums)), *(v.value for v in variables)],
            unrolled=self.replicas.count > 1,
        )
        if self._clip:
            gradients = clipped(gradients, self._clip)
        # The optimizer sums the gradients of all replicas.
        self.optimizer.apply(gradients, variables)
        state = tf.add_n([tf.nn.l2_loss(v.value) for v in self._state])
        return tf.where(tf.math.is_finite(state), measured, math.nan)

    def _part(
        self, images: Tensor, labels: Tensor, share: float, *, examples: Tensor
    ) -> list[Tensor]:
        """Computes a part of a replica's batch.

        Args:
            images: ``(N, H, W, C)``.
            labels: ``(N,)`` or ``(N, classes)``.
            share: Of the part in the replica's batch.
            examples: Of the whole batch on all replicas.

        Returns:
            The part of the mean loss and of ``metrics.sums``; gradients.
        """
        variables = self.network.trainable_variables
        share = share / self.replicas.count
        with tf.GradientTape() as tape:
            outputs = self.network(self._preprocessing.normalise(images), training=True)
            logits, *auxiliary = outputs if isinstance(outputs, list) else [outputs]
            losses = self._objective.loss(labels, logits)
            loss = tf.reduce_sum(losses) / examples
            objective = loss
            if self._penalised:
                penalty = tf.add_n([tf.nn.l2_loss(v.value) for v in self._penalised])
                objective += share * self._objective.penalty * penalty
            for others in auxiliary:
                beside = tf.reduce_sum(self._objective.loss(labels, others)) / examples
                objective += self._objective.auxiliary_weight * beside
            objective = self.optimizer.scale_loss(objective)
        sums = self.metrics.measure(losses, logits, dominant(labels))
        gradients = tape.gradient(objective, variables, unconnected_gradients="zero")
        return [tf.concat([loss[tf.newaxis], sums], 0), *gradients]
