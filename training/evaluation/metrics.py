"""What is measured of a classifier, in training and evaluation alike."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from training.data.preprocessing import Preprocessing
from training.data.types import Tensor
from training.distributed.replicas import Replicas
from training.evaluation.predictions import COLUMNS, Logs, Predictions
from training.evaluation.views import View
from training.optimisation.losses import cross_entropy

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
    """What a network says of batches of pixels, every example exactly once.

    Args:
        model: Normalised images → float32 logits.
        preprocessing: Normalises pixels.
        jit_compile: Compile with XLA.
        replicas: Who holds the network.
        views: Changes of a batch of pixels over which probabilities are averaged;
            none: the images as they are.

    Attributes:
        replicas: Who holds the network.
    """

    def __init__(
        self,
        model: keras.Model,
        preprocessing: Preprocessing,
        *,
        jit_compile: bool = False,
        replicas: Replicas | None = None,
        views: Sequence[View] = (),
    ) -> None:
        self.replicas = replicas or Replicas()
        self._model = model
        self._prepared = preprocessing
        self._views = views
        self._step = tf.function(self._all_replicas, jit_compile=jit_compile)

    def __call__(self, batches: Iterable[Any], examples: int) -> Predictions:
        """Returns the predictions of all examples, those of other workers too.

        Args:
            batches: This worker's, as ``replicas.batches`` yields them.
            examples: In all workers' batches together.
        """
        nothing = np.zeros((0, len(COLUMNS)))
        held = [[nothing] for _ in self.replicas.shares]
        for images, labels in batches:
            measured = self._step(images, labels)
            for rows, new in zip(held, measured, strict=True):
                rows.append(new.numpy())
        table = np.zeros((examples, len(COLUMNS)))
        for (part, parts), rows in zip(self.replicas.shares, held, strict=True):
            table[part::parts] = np.concatenate(rows)
        return Predictions.from_table(self.replicas.total(table))

    def _all_replicas(self, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        measured = self.replicas.run(self._evaluation_step, images, labels)
        return self.replicas.locals(measured)

    def _evaluation_step(self, images: Tensor, labels: Tensor) -> Tensor:
        def measured() -> Tensor:
            logits = self._logits(images)
            columns = {
                "labels": labels,
                "predicted": tf.argmax(logits, -1),
                "confidence": tf.reduce_max(tf.nn.softmax(logits), -1),
                "losses": cross_entropy(labels, logits),
                "top5": MEASURES["top5"](labels, logits),
            }
            return tf.stack([tf.cast(columns[c], tf.float32) for c in COLUMNS], -1)

        if self.replicas.count == 1:
            return measured()
        # Without examples oneDNN's convolution has its input's shape, channels too.
        return tf.cond(
            tf.shape(labels)[0] > 0, measured, lambda: tf.zeros((0, len(COLUMNS)))
        )

    def _logits(self, images: Tensor) -> Tensor:
        if not self._views:
            return self._model(self._prepared.normalise(images), training=False)
        logs = [
            tf.nn.log_softmax(
                self._model(self._prepared.normalise(view(images)), training=False)
            )
            for view in self._views
        ]
        # Logarithms of probabilities are logits that softmax leaves as they are.
        return tf.reduce_logsumexp(tf.stack(logs), 0) - math.log(len(logs))
