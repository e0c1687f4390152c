"""What is measured of a classifier, in training and evaluation alike."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from training.images import Tensor
from training.preprocessing import Preprocessing
from training.progress import Logs
from training.strategy import Replicas

Measure = Callable[[Tensor, Tensor], Tensor]  # labels, logits -> one value an example

MEASURES: dict[str, Measure] = {
    "top1": keras.metrics.sparse_categorical_accuracy,
    "top5": partial(keras.metrics.sparse_top_k_categorical_accuracy, k=5),
}


class Metrics:
    """Means over examples: cross-entropy (in nats) and top-k accuracy (0 to 1).

    Args:
        *names: Some of ``"top1"``, ``"top5"``; ``"loss"`` is always there.

    Attributes:
        sums: Of the loss, of each name, and the number of examples, in float64.
    """

    def __init__(self, *names: str) -> None:
        self._names = ("loss", *names)
        self.sums = np.zeros(len(names) + 2)

    @property
    def examples(self) -> int:
        """Examples seen."""
        return int(self.sums[-1])

    def measure(self, losses: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns a batch's part of ``sums``, within a step.

        Args:
            losses: ``(N,)``.
            logits: ``(N, classes)``.
            labels: ``(N,)``.
        """
        values = [losses, *(MEASURES[n](labels, logits) for n in self._names[1:])]
        values.append(tf.ones_like(losses))
        return tf.stack([tf.reduce_sum(tf.cast(v, tf.float32)) for v in values])

    def add(self, measured: Tensor) -> None:
        """Adds what ``measure`` returned."""
        self.sums = self.sums + np.asarray(measured, np.float64)

    def result(self) -> Logs:
        """Returns the means so far."""
        means = self.sums[:-1] / max(self.examples, 1)
        return dict(zip(self._names, means.tolist(), strict=True))

    def reset(self) -> None:
        """Begins again."""
        self.sums = np.zeros_like(self.sums)


class Evaluator:
    """Measures a network on batches of pixels, every example exactly once.

    Args:
        model: Normalised images → float32 logits.
        prepared: Normalises pixels.
        jit_compile: Compile with XLA.
        replicas: Who holds the network.

    Attributes:
        replicas: Who holds the network.
    """

    def __init__(
        self,
        model: keras.Model,
        prepared: Preprocessing,
        *,
        jit_compile: bool = False,
        replicas: Replicas | None = None,
    ) -> None:
        self.replicas = replicas or Replicas()
        self._model = model
        self._prepared = prepared
        self._metrics = Metrics("top1", "top5")
        self._step = tf.function(self._all_replicas, jit_compile=jit_compile)

    def __call__(self, batches: Iterable[Any]) -> Logs:
        """Returns ``examples``, ``loss``, ``top1`` and ``top5`` over all batches.

        Args:
            batches: This worker's, as ``replicas.batches`` yields them.
        """
        metrics = self._metrics
        metrics.reset()
        for images, labels in batches:
            for measured in self._step(images, labels):
                metrics.add(measured)
        metrics.sums = self.replicas.total(metrics.sums)
        return {"examples": metrics.examples} | metrics.result()

    def _all_replicas(self, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        measured = self.replicas.run(self._evaluation_step, images, labels)
        return self.replicas.locals(measured)

    def _evaluation_step(self, images: Tensor, labels: Tensor) -> Tensor:
        def measured() -> Tensor:
            logits = self._model(self._prepared.normalise(images), training=False)
            return self._metrics.measure(cross_entropy(labels, logits), logits, labels)

        if self.replicas.count == 1:
            return measured()
        # Without examples oneDNN's convolution has its input's shape, channels too.
        return tf.cond(
            tf.shape(labels)[0] > 0, measured, lambda: tf.zeros(len(self._metrics.sums))
        )


def cross_entropy(labels: Tensor, logits: Tensor) -> Tensor:
    """The cross-entropy of each example in nats, ``(N,)`` from ``(N, classes)``."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
