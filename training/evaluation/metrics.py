"""Computes the metrics and predictions of a classifier."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from training.data.preprocessing import Preprocessing
from training.data.types import Tensor
from training.distributed.backend import backend
from training.distributed.replicas import Replicas
from training.evaluation.predictions import COLUMNS, Logs, Predictions
from training.evaluation.views import View
from training.optimisation.losses import cross_entropy


class Metrics:
    """Averages the loss (in nats) and the top-1 accuracy (0 to 1) over examples.

    Attributes:
        sums: Sums of the loss and of the accuracy, and the number of examples; float64.
    """

    def __init__(self) -> None:
        self.sums = np.zeros(3)

    @property
    def examples(self) -> int:
        """Number of examples so far."""
        return int(self.sums[-1])

    def batch_sums(self, losses: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns a batch's contribution to ``sums``, float32 ``(3,)``.

        Args:
            losses: Loss of each example, ``(N,)``.
            logits: ``(N, classes)``.
            labels: Class numbers ``(N,)``.
        """
        correct = keras.metrics.sparse_categorical_accuracy(labels, logits)
        values = (losses, correct, ops.ones_like(losses))
        return ops.stack([ops.sum(ops.cast(v, "float32")) for v in values])

    def add(self, sums: Tensor) -> None:
        """Adds a result of ``batch_sums``."""
        self.sums = self.sums + np.asarray(sums, np.float64)

    def result(self) -> Logs:
        """Returns ``loss`` (nats) and ``top1`` (0 to 1); 0 without examples."""
        loss, top1 = (self.sums[:-1] / max(self.examples, 1)).tolist()
        return {"loss": loss, "top1": top1}

    def reset(self) -> None:
        """Resets all sums to zero."""
        self.sums = np.zeros_like(self.sums)


class Evaluator:
    """Predicts batches of pixels, every example exactly once.

    Args:
        model: Maps normalised images to float32 logits.
        preprocessing: Normalises pixels.
        jit_compile: Whether to compile with XLA; ignored with several replicas, whose
            function XLA cannot compile.
        replicas: The devices and workers that hold the model; None: one device.
        views: Transformations of a batch of pixels over which probabilities are
            averaged; empty: only the unchanged images are used.
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
        self._preprocessing = preprocessing
        self._views = views
        self._step = backend.compiled(
            self._all_replicas,
            lambda: model.variables,
            xla=jit_compile and self.replicas.parts == 1,
        )

    def __call__(self, batches: Iterable[Any], examples: int) -> Predictions:
        """Returns the predictions of all examples, including those of other workers.

        Args:
            batches: This worker's batches, as ``replicas.batches`` yields them.
            examples: Number of examples in the batches of all workers.
        """
        no_rows = np.zeros((0, len(COLUMNS)))
        rows_of_shares = [[no_rows] for _ in self.replicas.shares]
        for images, labels in batches:
            results = self.replicas.locals(self._step(images, labels))
            for rows, new_rows in zip(rows_of_shares, results, strict=True):
                rows.append(ops.convert_to_numpy(new_rows))
        # Each worker fills in its rows of a table of zeros; their sum is the whole.
        table = np.zeros((examples, len(COLUMNS)))
        for (part, parts), rows in zip(
            self.replicas.shares, rows_of_shares, strict=True
        ):
            table[part::parts] = np.concatenate(rows)
        return Predictions.from_table(self.replicas.total(table))

    def _all_replicas(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.replicas.run(self._evaluation_step, images, labels)

    def _evaluation_step(self, images: Tensor, labels: Tensor) -> Tensor:
        def rows() -> Tensor:
            logits = self._logits(images)
            columns = {
                "labels": labels,
                "predicted": ops.argmax(logits, -1),
                "confidence": ops.max(ops.softmax(logits), -1),
                "losses": cross_entropy(labels, logits),
                "top5": keras.metrics.sparse_top_k_categorical_accuracy(
                    labels, logits, k=5
                ),
            }
            return ops.stack([ops.cast(columns[c], "float32") for c in COLUMNS], -1)

        if self.replicas.parts == 1:
            return rows()
        # An empty batch skips the model: oneDNN's convolution would keep its input's
        # shape and channels.
        return ops.cond(
            ops.shape(labels)[0] > 0, rows, lambda: ops.zeros((0, len(COLUMNS)))
        )

    def _logits(self, images: Tensor) -> Tensor:
        if not self._views:
            return self._model(self._preprocessing.normalise(images), training=False)
        log_probabilities = [
            ops.log_softmax(
                self._model(self._preprocessing.normalise(view(images)), training=False)
            )
            for view in self._views
        ]
        # Log-probabilities are logits whose softmax is these probabilities.
        total = ops.logsumexp(ops.stack(log_probabilities), 0)
        return total - math.log(len(log_probabilities))
