"""What is measured of a classifier, in training and evaluation alike."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from training.images import Tensor
from training.preprocessing import Preprocessing

Logs = dict[str, float]

_MAKERS: dict[str, Callable[[int], Any]] = {
    "loss": lambda classes: keras.metrics.Mean(name="loss"),
    "top1": lambda classes: keras.metrics.SparseCategoricalAccuracy(name="top1"),
    "top5": lambda classes: keras.metrics.SparseTopKCategoricalAccuracy(
        min(5, classes), name="top5"
    ),
}


class Metrics:
    """Means over examples: cross-entropy (in nats) and top-k accuracy (0 to 1).

    Args:
        names: Some of ``"loss"``, ``"top1"``, ``"top5"``.
        classes: Number of classes.
    """

    def __init__(self, names: tuple[str, ...], classes: int) -> None:
        self._metrics = {name: _MAKERS[name](classes) for name in names}

    @property
    def variables(self) -> list[Any]:
        """The running sums."""
        return [v for metric in self._metrics.values() for v in metric.variables]

    def update(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch: losses ``(N,)``, logits ``(N, classes)``, labels ``(N,)``."""
        for name, metric in self._metrics.items():
            arguments = (losses,) if name == "loss" else (labels, logits)
            metric.update_state(*arguments)

    def result(self) -> Logs:
        """Returns the means so far."""
        return {name: float(m.result()) for name, m in self._metrics.items()}

    def reset(self) -> None:
        """Begins again."""
        for metric in self._metrics.values():
            metric.reset_state()


class Evaluator:
    """Measures a network on batches of pixels, every example exactly once.

    Args:
        model: Normalised images → float32 logits.
        prepared: Normalises pixels.
        jit_compile: Compile with XLA.
    """

    def __init__(
        self, model: keras.Model, prepared: Preprocessing, *, jit_compile: bool = False
    ) -> None:
        self._model = model
        self._prepared = prepared
        self._step = tf.function(self._evaluation_step, jit_compile=jit_compile)

    def __call__(self, batches: tf.data.Dataset) -> Logs:
        """Returns ``examples``, ``loss``, ``top1`` and ``top5`` over all batches."""
        metrics = Metrics(("loss", "top1", "top5"), self._model.output_shape[-1])
        examples = 0
        for images, labels in batches:
            losses, logits = self._step(images, labels)
            metrics.update(losses, logits, labels)
            examples += len(labels)
        return {"examples": examples} | metrics.result()

    def _evaluation_step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self._model(self._prepared.normalise(images), training=False)
        return cross_entropy(labels, logits), logits


def cross_entropy(labels: Tensor, logits: Tensor) -> Tensor:
    """The cross-entropy of each example in nats, ``(N,)`` from ``(N, classes)``."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
