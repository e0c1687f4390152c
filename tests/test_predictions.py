"""What follows from predictions, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from training.evaluation.predictions import BINS, WORST, Predictions, per_class


def predictions(
    labels: list[int], predicted: list[int], confidence: list[float]
) -> Predictions:
    count = len(labels)
    return Predictions(
        np.array(labels),
        np.array(predicted),
        np.array(confidence),
        np.zeros(count),
        np.ones(count, bool),
    )


@pytest.fixture
def drawn() -> Predictions:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 5, (2, 300))
    return predictions(labels, predicted, rng.uniform(0.2, 1, 300))


def test_classes_and_confusion_are_scikit_learns(drawn: Predictions) -> None:
    confusion = drawn.confusion(6)  # of the last class there is no example
    known = confusion_matrix(drawn.labels, drawn.predicted, labels=range(6))
    np.testing.assert_array_equal(confusion, known)
    found = per_class(confusion, tuple("abcdef"))
    precision, recall, _, support = precision_recall_fscore_support(
        drawn.labels, drawn.predicted, labels=range(6), zero_division=0
    )
    assert [c["label"] for c in found] == list("abcdef")
    assert [c["support"] for c in found] == support.tolist()
    assert [c["precision"] for c in found[:5]] == pytest.approx(precision[:5])
    assert [c["recall"] for c in found[:5]] == pytest.approx(recall[:5])
    assert found[5]["precision"] is found[5]["recall"] is None


def test_calibration_by_hand() -> None:
    made = predictions([0, 0, 0, 1], [0, 0, 1, 1], [0.95, 0.97, 0.99, 0.55])
    bins = made.calibration()
    assert len(bins) == BINS
    assert sum(b["examples"] for b in bins) == 4
    last = bins[-1]
    assert (last["low"], last["high"]) == pytest.approx((14 / 15, 1))
    assert last["examples"] == 3
    assert last["confidence"] == pytest.approx(0.97)
    assert last["accuracy"] == pytest.approx(2 / 3)
    assert bins[0]["accuracy"] is None
    by_hand = (3 * (0.97 - 2 / 3) + 1 * (1 - 0.55)) / 4
    assert made.calibration_error() == pytest.approx(by_hand)


def test_the_edges_of_confidence_are_counted() -> None:
    made = predictions([0, 0, 0], [0, 0, 0], [0.0, 1.0, 1 / BINS])
    counts = [b["examples"] for b in made.calibration()]
    assert (counts[0], counts[-1], sum(counts)) == (2, 1, 3)


def test_calibration_of_a_network_that_knows_what_it_does_not_know() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0, 1, 200_000)
    right = rng.uniform(0, 1, 200_000) < confidence
    made = predictions([0] * 200_000, (~right).astype(int), confidence)
    assert made.calibration_error() < 0.005


def test_the_worst_are_the_most_confident_mistakes(drawn: Predictions) -> None:
    worst = drawn.worst()
    assert len(worst) == WORST
    assert not drawn.correct[worst].any()
    confidence = drawn.confidence[worst]
    assert (np.diff(confidence) <= 0).all()
    others = np.delete(np.arange(300), worst)
    left = drawn.confidence[others][~drawn.correct[others]]
    assert left.max() <= confidence.min()
    assert len(predictions([1], [1], [0.9]).worst()) == 0
