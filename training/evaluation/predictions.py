"""What a network says of every example of a split, and what follows from it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

Logs = dict[str, float]  # what Keras' callbacks are given: values by name

COLUMNS = ("labels", "predicted", "confidence", "losses", "top5")
BINS = 15  # of equal width, as Guo et al., 2017, "On Calibration", have them
WORST = 20  # mistakes listed


@dataclass(frozen=True)
class Predictions:
    """A row an example, in the split's order.

    Attributes:
        labels: The true classes, int ``(N,)``.
        predicted: The most probable ones.
        confidence: The probabilities of those.
        losses: Cross-entropies in nats.
        top5: The true class is among the five most probable.
    """

    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    losses: np.ndarray
    top5: np.ndarray

    @classmethod
    def from_table(cls, table: np.ndarray) -> "Predictions":
        """Reads a float array of ``COLUMNS``."""
        labels, predicted, confidence, losses, top5 = table.T
        return cls(
            labels.astype(int), predicted.astype(int), confidence, losses, top5 > 0
        )

    @property
    def right(self) -> np.ndarray:
        """Which predictions are true."""
        return self.labels == self.predicted

    def means(self) -> dict[str, Any]:
        """Returns ``examples``, ``top1``, ``top5`` (shares) and ``loss``."""
        return {
            "examples": len(self.labels),
            "top1": float(self.right.mean()),
            "top5": float(self.top5.mean()),
            "loss": float(self.losses.mean()),
        }

    def confusion(self, classes: int) -> np.ndarray:
        """Returns counts ``(classes, classes)``, true by predicted."""
        pairs = np.bincount(
            self.labels * classes + self.predicted, minlength=classes**2
        )
        return pairs.reshape(classes, classes)

    def calibration(self) -> list[dict[str, Any]]:
        """Returns the reliability of ``BINS`` ranges of confidence.

        Each has ``low`` and ``high`` (``low`` < confidence ≤ ``high``), ``examples``,
        and where there are any their mean ``confidence`` and ``accuracy``, else None.
        """
        edges = np.linspace(0, 1, BINS + 1)
        bins = np.clip(np.searchsorted(edges, self.confidence) - 1, 0, BINS - 1)
        return [
            {
                "low": float(edges[i]),
                "high": float(edges[i + 1]),
                "examples": int(within.sum()),
                "confidence": _mean(self.confidence[within]),
                "accuracy": _mean(self.right[within]),
            }
            for i in range(BINS)
            for within in [bins == i]
        ]

    def calibration_error(self) -> float:
        """Returns the expected calibration error, the mean of |accuracy − confidence|.

        Reference: Guo et al., "On Calibration of Modern Neural Networks", 2017,
        equation 3.
        """
        return sum(
            bin_["examples"] * abs(bin_["accuracy"] - bin_["confidence"])
            for bin_ in self.calibration()
            if bin_["examples"]
        ) / len(self.labels)

    def worst(self) -> np.ndarray:
        """Returns the indices of the most confident mistakes, the worst first."""
        order = np.argsort(-self.confidence, kind="stable")
        return order[~self.right[order]][:WORST]


def per_class(confusion: np.ndarray, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Returns for each class ``label``, ``support``, ``recall`` and ``precision``.

    ``support`` counts its examples; ``recall`` is the share of them that is found (its
    accuracy), ``precision`` the share that is right of what is taken for it. Either is
    None where that is a share of nothing.
    """
    found = confusion.diagonal()
    columns = zip(names, confusion.sum(1), confusion.sum(0), found, strict=True)
    return [
        {
            "label": name,
            "support": int(support),
            "recall": _share(right, support),
            "precision": _share(right, taken),
        }
        for name, support, taken, right in columns
    ]


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
