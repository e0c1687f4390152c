"""What a network reaches on a split, found out and written down."""

from typing import Any

from training.data.pipeline import evaluation_batches
from training.data.preprocessing import Preprocessing
from training.data.types import Dataset
from training.evaluation.metrics import Evaluator
from training.evaluation.predictions import Predictions, per_class
from training.runs.run import Run
from training.storage.writing import write_json

BATCH_SIZE = 256
SUMMARY = ("split", "examples", "top1", "top5", "loss")  # of evaluation.json


def predict(
    evaluator: Evaluator, dataset: Dataset, preprocessing: Preprocessing, split: str
) -> Predictions:
    """Returns what a network says of each example of a split, in its order."""
    examples = dataset.split(split)
    batches = evaluator.replicas.batches(
        lambda share: evaluation_batches(examples, preprocessing, BATCH_SIZE, share)
    )
    return evaluator(batches, len(examples))


def assess(predictions: Predictions, dataset: Dataset, split: str) -> dict[str, Any]:
    """Returns all that is known of a network on a split.

    The keys of ``SUMMARY``; ``calibration_error`` and ``calibration``; ``classes``;
    ``confusion``, counts by true and predicted class; ``mistakes``, the most confident
    first, each with the image's ``index`` in the split and its ``path`` if it has one.
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
        **predictions.means(),
        "calibration_error": predictions.calibration_error(),
        "calibration": predictions.calibration(),
        "classes": per_class(confusion, names),
        "confusion": confusion.tolist(),
        "mistakes": mistakes,
    }


def store(run: Run, assessed: dict[str, Any]) -> None:
    """Writes what ``assess`` found of a run's test split into its folder."""
    write_json(run.assessment, assessed)
    # Last, since a run that has it is complete.
    write_json(run.evaluation, {name: assessed[name] for name in SUMMARY})
