"""The losses against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from training.optimisation.losses import dominant_class, make_loss

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]], np.float32)
LABELS = np.array([0, 2])
MIXED = np.array([[0.7, 0.0, 0.3], [0.1, 0.9, 0.0]], np.float32)


def loss(
    labels: np.ndarray,
    loss: str = "softmax",
    label_smoothing: float = 0.0,
    bce_threshold: float | None = None,
) -> np.ndarray:
    computed = make_loss(loss, 3, smoothing=label_smoothing, threshold=bce_threshold)
    return computed(tf.constant(labels), tf.constant(LOGITS)).numpy()


def softmax_loss(targets: np.ndarray) -> np.ndarray:
    logs = LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True))
    return -(targets * logs).sum(1)


def binary_loss(targets: np.ndarray) -> np.ndarray:
    p = 1 / (1 + np.exp(-LOGITS))
    return -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean(1)


HARD = np.eye(3)[LABELS]


@pytest.mark.parametrize(
    ("labels", "fields", "expected"),
    [
        (LABELS, {}, softmax_loss(HARD)),
        (MIXED, {}, softmax_loss(MIXED)),
        (LABELS, {"label_smoothing": 0.1}, softmax_loss(0.9 * HARD + 0.1 / 3)),
        (MIXED, {"label_smoothing": 0.3}, softmax_loss(0.7 * MIXED + 0.1)),
        (LABELS, {"loss": "bce"}, binary_loss(HARD)),
        (MIXED, {"loss": "bce"}, binary_loss(MIXED)),
        (MIXED, {"loss": "bce", "bce_threshold": 0.2}, binary_loss(MIXED > 0.2)),
        (
            LABELS,
            {"loss": "bce", "label_smoothing": 0.3},
            binary_loss(0.7 * HARD + 0.1),
        ),
    ],
)
def test_is_its_formula(
    labels: np.ndarray, fields: dict[str, object], expected: np.ndarray
) -> None:
    np.testing.assert_allclose(loss(labels, **fields), expected, rtol=1e-5)


def test_dominant_class() -> None:
    assert dominant_class(tf.constant(MIXED)).numpy().tolist() == [0, 1]
    assert dominant_class(tf.constant(LABELS)).numpy().tolist() == [0, 2]
