"""Updates a model with one batch, on one or several replicas."""

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
from training.distributed.replicas import Replicas, clip_gradients, global_count
from training.evaluation.metrics import Metrics
from training.optimisation.accumulation import accumulate
from training.optimisation.averaging import Average
from training.optimisation.losses import dominant_class
from training.optimisation.objective import Objective


@dataclass(frozen=True)
class TrainedModel:
    """A model to evaluate and save, and the model that is trained in its place.

    Attributes:
        model: The model to evaluate and save; maps normalised images to float32 logits.
        network: The model to train: ``model`` itself, a model that shares its layers
            and returns the logits of auxiliary classifiers as further outputs, or a
            model whose moving average is ``model``.
        average: Updates the moving average; None: there is none.
        auxiliary_weight: Weight of the loss of each auxiliary classifier.
    """

    model: keras.Model
    network: keras.Model
    average: Average | None = None
    auxiliary_weight: float = 0.0


class TrainingStep:
    """Trains a model one batch at a time.

    Args:
        trained: The model.
        preprocessing: Normalises pixels.
        objective: The objective to minimise.
        optimizer: Updates the trainable variables.
        accumulation: Number of parts in which a batch is computed.
        jit_compile: Whether to compile the step with XLA.

    Attributes:
        model: The model that is evaluated and saved.
        network: The model that is trained.
        optimizer: The optimizer.
        metrics: Metrics of the epoch so far: the mean loss, without weight decay and
            auxiliary classifiers, and the top-1 accuracy (for mixed images, of the
            class with the largest share).
        replicas: The replicas of the strategy in whose scope the step was created.
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
        self._auxiliary_weight = trained.auxiliary_weight
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
        if self.replicas.count > 1:  # Keras would clip each replica's part separately
            self._clip, optimizer.global_clipnorm = optimizer.global_clipnorm, None
        trainable = network.trainable_variables
        self._penalised = objective.penalised(trainable)
        self._state = [v for v in network.variables if v.dtype == "float32"]
        self._step = tf.function(
            self._all_replicas, autograph=False, jit_compile=jit_compile
        )
        optimizer.build(trainable)

    @property
    def variables(self) -> list[keras.Variable]:
        """All weights and other state of the trained model and of its average."""
        average = self.model.variables if self._average else []
        return [*self.network.variables, *average]

    def step(self, images: Any, labels: Any, copies: int = 1) -> float:
        """Updates the weights with one batch and returns its mean loss.

        The result is also NaN if a weight or statistic is not finite after the update:
        a ReLU turns NaN into 0, so the loss alone would not show it.

        Args:
            images: Pixels 0–255, ``(N, H, W, C)``, as ``replicas.batches`` yields them.
            labels: Class numbers ``(N,)``, or targets ``(N, classes)``, likewise.
            copies: Number of replicas that hold each example.
        """
        loss, *sums = self._step(images, labels).numpy()
        self.metrics.add(np.divide(sums, copies))
        return float(loss)

    def _all_replicas(self, images: Any, labels: Any) -> Tensor:
        """Runs the step on all replicas; returns mean loss and ``metrics.sums``."""
        # The layers' own checks are off, since an error on one worker would leave the
        # others waiting for it; the step checks the whole state instead.
        together = synchronized(self.network, self.replicas.count > 1)
        with together, unchecked(self.network):
            loss_and_sums = self.replicas.run(self._training_step, images, labels)
        if self._average:
            self._average.update(self.optimizer.iterations)
        return self.replicas.summed(loss_and_sums)

    def _training_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Runs one replica's step, whose results are summed over replicas."""
        variables = self.network.trainable_variables
        compute = partial(self._part, examples=global_count(labels))
        loss_and_sums, *gradients = accumulate(
            compute,
            images,
            labels,
            self._parts,
            like=[tf.zeros(1 + len(self.metrics.sums)), *(v.value for v in variables)],
            unrolled=self.replicas.count > 1,
        )
        if self._clip:
            gradients = clip_gradients(gradients, self._clip)
        # The optimizer sums the gradients of all replicas.
        self.optimizer.apply(gradients, variables)
        state = tf.add_n([tf.nn.l2_loss(v.value) for v in self._state])
        return tf.where(tf.math.is_finite(state), loss_and_sums, math.nan)

    def _part(
        self, images: Tensor, labels: Tensor, share: float, *, examples: Tensor
    ) -> list[Tensor]:
        """Computes one part of a replica's batch.

        Args:
            images: ``(N, H, W, C)``.
            labels: ``(N,)`` or ``(N, classes)``.
            share: Share of this part in the replica's batch, from 0 to 1.
            examples: Number of examples in the whole batch on all replicas.

        Returns:
            Contributions to the mean loss and to ``metrics.sums``, then gradients.
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
            for auxiliary_logits in auxiliary:
                losses_there = self._objective.loss(labels, auxiliary_logits)
                auxiliary_loss = tf.reduce_sum(losses_there) / examples
                objective += self._auxiliary_weight * auxiliary_loss
            objective = self.optimizer.scale_loss(objective)
        sums = self.metrics.batch_sums(losses, logits, dominant_class(labels))
        gradients = tape.gradient(objective, variables, unconnected_gradients="zero")
        return [tf.concat([loss[tf.newaxis], sums], 0), *gradients]
