"""Stores the predictions for a split and computes statistics from them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

Logs = dict[str, float]  # as passed to Keras callbacks: values by name

COLUMNS = ("labels", "predicted", "confidence", "losses", "top5")
BINS = 15  # of equal width, as in Guo et al., 2017, "On Calibration"
WORST = 20  # number of mistakes listed


@dataclass(frozen=True)
class Predictions:
    """Predictions with one entry per example, in the split's order.

    Attributes:
        labels: True classes, int ``(N,)``.
        predicted: Most probable classes, int ``(N,)``.
        confidence: Probabilities of the predicted classes, from 0 to 1, ``(N,)``.
        losses: Cross-entropies in nats, ``(N,)``.
        top5: Whether the true class is among the five most probable, bool ``(N,)``.
    """

    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    losses: np.ndarray
    top5: np.ndarray

    @classmethod
    def from_table(cls, table: np.ndarray) -> "Predictions":
        """Creates predictions from a float array with the columns ``COLUMNS``."""
        labels, predicted, confidence, losses, top5 = table.T
        return cls(
            labels.astype(int), predicted.astype(int), confidence, losses, top5 > 0
        )

    @property
    def correct(self) -> np.ndarray:
        """Whether each prediction is correct, bool ``(N,)``."""
        return self.labels == self.predicted

    def summary(self) -> dict[str, Any]:
        """Returns ``examples``, ``top1`` and ``top5`` (0 to 1), and ``loss``."""
        return {
            "examples": len(self.labels),
            "top1": float(self.correct.mean()),
            "top5": float(self.top5.mean()),
            "loss": float(self.losses.mean()),
        }

    def confusion(self, classes: int) -> np.ndarray:
        """Returns the confusion matrix, int64 ``(classes, classes)``.

        Row i, column j has the number of examples of class i predicted as class j.
        """
        pairs = np.bincount(
            self.labels * classes + self.predicted, minlength=classes**2
        )
        return pairs.reshape(classes, classes)

    def calibration(self) -> list[dict[str, Any]]:
        """Returns the reliability in ``BINS`` ranges of confidence.

        Each has ``low`` and ``high`` (``low`` < confidence ≤ ``high``), ``examples``,
        and the mean ``confidence`` and ``accuracy``, which are None without examples.
        """
        edges = np.linspace(0, 1, BINS + 1)
        bins = np.clip(np.searchsorted(edges, self.confidence) - 1, 0, BINS - 1)
        return [
            {
                "low": float(edges[i]),
                "high": float(edges[i + 1]),
                "examples": int(within.sum()),
                "confidence": _mean(self.confidence[within]),
                "accuracy": _mean(self.correct[within]),
            }
            for i in range(BINS)
            for within in [bins == i]
        ]

    def calibration_error(self) -> float:
        """Returns the expected calibration error, from 0 to 1; 0 is the best.

        It is the mean of |accuracy − confidence| over the bins of ``calibration``,
        weighted by their numbers of examples.

        Reference: Guo et al., "On Calibration of Modern Neural Networks", 2017, eq. 3.
        """
        return sum(
            bin_["examples"] * abs(bin_["accuracy"] - bin_["confidence"])
            for bin_ in self.calibration()
            if bin_["examples"]
        ) / len(self.labels)

    def worst(self) -> np.ndarray:
        """Returns the indices of the ``WORST`` mistakes, the most confident first."""
        order = np.argsort(-self.confidence, kind="stable")
        return order[~self.correct[order]][:WORST]


def per_class(confusion: np.ndarray, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Returns ``label``, ``support``, ``recall`` and ``precision`` of each class.

    ``support`` is the number of its examples; ``recall`` the share of them that are
    predicted correctly (its accuracy); ``precision`` the share of its predictions that
    are correct. A share of zero examples is None.
    """
    correct = confusion.diagonal()
    columns = zip(names, confusion.sum(1), confusion.sum(0), correct, strict=True)
    return [
        {
            "label": name,
            "support": int(support),
            "recall": _share(hits, support),
            "precision": _share(hits, predicted),
        }
        for name, support, predicted, hits in columns
    ]


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
