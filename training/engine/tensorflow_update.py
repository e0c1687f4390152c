"""Updates a model with TensorFlow, on one or several replicas."""

import math
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from keras_resnet.errors import UsageError
from keras_resnet.layers import (
    GroupedConv2D,
    gradients_by_products,
    leaf_layers,
    moving_statistics,
    synchronized,
    unchecked,
)
from training.data.types import Tensor
from training.distributed.strategy import average_values, clip_gradients
from training.distributed.tensorflow_backend import detect_hardware
from training.engine.forward import ForwardPass
from training.optimisation.accumulation import accumulate

# Raised where XLA lacks an operation or a device.
XLA_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.UnimplementedError,
    tf.errors.InternalError,
    tf.errors.NotFoundError,
)


class TensorFlowUpdate:
    """Computes gradients and updates a model's variables, as one graph.

    Args:
        forward: The model, its objective and its optimizer.
    """

    def __init__(self, forward: ForwardPass) -> None:
        self._forward = forward
        self._replicas = forward.execution.replicas
        jit_compile = forward.execution.jit_compile
        training_model, optimizer = forward.training_model, forward.optimizer
        if jit_compile and not tf.config.list_logical_devices("GPU"):
            # XLA's gradients of a grouped convolution take 70 times as long on a CPU.
            for layer in leaf_layers(training_model):
                if isinstance(layer, GroupedConv2D):
                    layer.path = "split"
        several = self._replicas.count > 1
        self._clip: float | None = None
        if several:  # Keras would clip each replica's part separately
            self._clip, optimizer.global_clipnorm = optimizer.global_clipnorm, None
        # Whether batch norms exchange statistics among replicas.
        self._exchanges = several and forward.execution.synchronized
        self._state = [v for v in training_model.variables if v.dtype == "float32"]
        self._by_products = detect_hardware().amx and not jit_compile
        self._unproven = jit_compile  # XLA has not compiled a step yet
        self._compiled = self._graph(jit_compile=jit_compile)

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Updates the variables; returns the result without waiting for it."""
        if not self._unproven:
            return self._compiled(images, labels)
        self._unproven = False
        try:
            return self._compiled(images, labels)
        except XLA_ERRORS as error:  # before it has updated anything
            # A graph of several devices adds where each error was raised.
            reason = error.message.rpartition("<stack traces unavailable>")[2]
            reason = " ".join(reason.split())
            if self._forward.execution.jit_required:
                raise UsageError(
                    "xla must be auto or off for a model that XLA cannot compile on "
                    f"this device, got on: {reason:.300}"
                ) from error
            print(
                "warning: training goes on without XLA, which cannot compile the "
                f"step: {reason:.300}",
                file=sys.stderr,
            )
            self._compiled = self._graph(jit_compile=False)
            return self._compiled(images, labels)

    def read(self, results: Sequence[Tensor]) -> np.ndarray:
        """Waits for the results of steps and returns them, one row for each."""
        return np.asarray(tf.stack(results))

    def sync(self) -> None:
        """Does nothing: variables always have the values of the last step."""

    def _graph(self, *, jit_compile: bool) -> Any:
        """Returns the step as a graph, of which XLA compiles all but exchanges."""
        several = self._replicas.count > 1
        self._compute = self._pass
        if several and jit_compile:
            self._compute = tf.function(self._pass, autograph=False, jit_compile=True)
        # A smaller last batch is traced for itself. A graph for batches of any size
        # would round gradients otherwise than earlier versions, whose runs may resume.
        return tf.function(
            self._all_replicas, autograph=False, jit_compile=jit_compile and not several
        )

    def _all_replicas(self, images: Tensor, labels: Tensor) -> Tensor:
        """Runs the step on all replicas; returns mean loss and ``metrics.sums``."""
        forward = self._forward
        # The layers' own checks are off, since an error on one worker would leave the
        # others waiting for it; the step checks the whole state instead.
        with (
            synchronized(forward.training_model, self._exchanges),
            unchecked(forward.training_model),
            gradients_by_products(forward.training_model, self._by_products),
        ):
            results = self._replicas.run(self._replica, images, labels)
        if forward.average:
            forward.average.update(forward.optimizer.iterations)
        return self._replicas.summed(results)

    def _replica(self, images: Tensor, labels: Tensor) -> Tensor:
        """Runs one replica's step, whose results are summed over replicas."""
        examples = self._replicas.examples(labels)
        results, *gradients = self._compute(images, labels, examples)
        if self._clip:
            gradients = clip_gradients(gradients, self._clip)
        variables = self._forward.training_model.trainable_variables
        # If XLA cannot compile the computation, the optimizer must not count the step.
        with tf.control_dependencies([results, *gradients]):
            # It sums the gradients of all replicas.
            self._forward.optimizer.apply(gradients, variables)
        if self._replicas.count > 1 and not self._exchanges:
            share = tf.cast(tf.shape(labels)[0], tf.float32) / examples
            average_values(moving_statistics(self._forward.training_model), share)
        state = tf.add_n([tf.nn.l2_loss(v.value) for v in self._state])
        return tf.where(tf.math.is_finite(state), results, math.nan)

    def _pass(self, images: Tensor, labels: Tensor, examples: Tensor) -> list[Tensor]:
        """Returns the results of a replica's batch, then its gradients."""
        variables = self._forward.training_model.trainable_variables
        results = tf.zeros(1 + len(self._forward.metrics.sums))
        return accumulate(
            partial(self._part, examples=examples),
            images,
            labels,
            self._forward.execution.accumulation,
            like=[results, *(v.value for v in variables)],
            unrolled=self._exchanges,
        )

    def _part(
        self, images: Tensor, labels: Tensor, share: float, *, examples: Tensor
    ) -> list[Tensor]:
        """Returns the results of a part of a batch, then its gradients."""
        variables = self._forward.training_model.trainable_variables
        with tf.GradientTape() as tape:
            objective, results = self._forward(images, labels, share, examples)
        gradients = tape.gradient(objective, variables, unconnected_gradients="zero")
        return [results, *gradients]
