"""Evaluates a model on a split and stores the results."""

from typing import Any

from training.data.pipeline import evaluation_batches
from training.data.preprocessing import Preprocessing
from training.data.types import Dataset
from training.evaluation.metrics import Evaluator
from training.evaluation.predictions import Predictions, per_class
from training.runs.run import Run
from training.storage.writing import write_json

BATCH_SIZE = 256
SUMMARY = ("split", "examples", "top1", "top5", "loss")  # keys of evaluation.json


def predict(
    evaluator: Evaluator, dataset: Dataset, preprocessing: Preprocessing, split: str
) -> Predictions:
    """Returns a model's predictions for the examples of a split, in its order.

    Args:
        evaluator: Applies the model to batches.
        dataset: The data set.
        preprocessing: The model's preprocessing.
        split: Name of the split.
    """
    examples = dataset.split(split)
    batches = evaluator.replicas.batches(
        lambda share: evaluation_batches(examples, preprocessing, BATCH_SIZE, share)
    )
    return evaluator(batches, len(examples))


def assess(predictions: Predictions, dataset: Dataset, split: str) -> dict[str, Any]:
    """Returns all results of a model on a split.

    Args:
        predictions: The model's predictions for the split.
        dataset: The data set.
        split: Name of the split.

    Returns:
        The keys of ``SUMMARY``; ``calibration_error`` and ``calibration``; ``classes``,
        as ``per_class`` returns them; ``confusion``, counts by true and predicted
        class; and ``mistakes``, the 20 most confident ones, each with ``index`` (in the
        split), ``path`` (None for images without files), ``label``, ``predicted`` and
        ``probability``.
    """
    names, examples = dataset.labels, dataset.split(split)
    confusion = predictions.confusion(len(names))
    files = examples.origins
    mistakes = [
        {
            "index": int(i),
            "path": None if files is None else files[i].numpy().decode(),
            "label": names[predictions.labels[i]],
            "predicted": names[predictions.predicted[i]],
            "probability": float(predictions.confidence[i]),
        }
        for i in predictions.worst()
    ]
    return {
        "split": split,
        **predictions.summary(),
        "calibration_error": predictions.calibration_error(),
        "calibration": predictions.calibration(),
        "classes": per_class(confusion, names),
        "confusion": confusion.tolist(),
        "mistakes": mistakes,
    }


def write_assessment(run: Run, assessed: dict[str, Any]) -> None:
    """Writes the result of ``assess`` on a run's test split into the run's folder."""
    write_json(run.assessment, assessed)
    # This file is written last because it marks the run as complete.
    write_json(run.evaluation, {name: assessed[name] for name in SUMMARY})
