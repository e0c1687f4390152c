"""``python -m training.evaluate RUN``: a network on a split, each image once."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from keras_resnet import command
from keras_resnet.errors import UsageError
from training.readable import readable
from training.runs import Run, write_json

if TYPE_CHECKING:
    from training.data.datasets import Dataset
    from training.data.preprocessing import Preprocessing
    from training.metrics import Evaluator
    from training.predictions import Predictions

BATCH_SIZE = 256
SUMMARY = ("split", "examples", "top1", "top5", "loss")  # of evaluation.json


@dataclass(frozen=True)
class Options:
    """Evaluate a trained network on every image of a split, exactly once."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    split: str = "test"
    """train, val or test."""
    dataset: str | None = None
    """Another data set with the same classes; None: the run's own."""
    skip_bad_images: bool = False
    """Leave out files of that folder that are no image."""
    tta: bool = False
    """Average the probabilities of each image and its mirror image, or of small shifts
    where the run's images are not mirrored; nothing is then written."""


def predict(
    evaluator: "Evaluator", dataset: "Dataset", prepared: "Preprocessing", split: str
) -> "Predictions":
    """Returns what a network says of each example of a split, in its order."""
    from training.data.pipeline import evaluation_batches

    examples = dataset.split(split)
    batches = evaluator.replicas.batches(
        lambda share: evaluation_batches(examples, prepared, BATCH_SIZE, share)
    )
    return evaluator(batches, len(examples))


def assess(
    predictions: "Predictions", dataset: "Dataset", split: str
) -> dict[str, Any]:
    """Returns all that is known of a network on a split.

    The keys of ``SUMMARY``; ``calibration_error`` and ``calibration``; ``classes``;
    ``confusion``, counts by true and predicted class; ``mistakes``, the most confident
    first, each with the image's ``index`` in the split and its ``path`` if it has one.
    """
    from training.predictions import per_class

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


def evaluate_run(
    run: Run,
    split: str = "test",
    dataset: str | None = None,
    *,
    skip_bad_images: bool = False,
    tta: bool = False,
) -> dict[str, Any]:
    """Evaluates a run's network in this process, on one device, in float32.

    What it reaches on the run's own test split, without ``tta``, goes to its folder.

    Args:
        run: A complete run.
        split: Name of the split.
        dataset: As of ``Options``, like the rest.
        skip_bad_images: Likewise.
        tta: Likewise.

    Returns:
        What ``assess`` does; with ``tta`` the names of the ``views`` too.

    Raises:
        UsageError: The data set has other classes, or no such split.
    """
    from training.augmentation.views import views
    from training.devices import detect
    from training.metrics import Evaluator
    from training.network import trained_network

    config = run.config
    data, prepared = _data(run, dataset, skip_bad_images=skip_bad_images)
    data.split(split)
    averaged = views(mirrored=config["dataset"]["flip"]) if tta else {}
    evaluator = Evaluator(
        trained_network(run),
        prepared,
        jit_compile=config["device"]["xla"] and detect().kind == "gpu",
        views=tuple(averaged.values()),
    )
    result = assess(predict(evaluator, data, prepared, split), data, split)
    if tta:
        return {**result, "views": list(averaged)}
    if dataset in (None, run.recipe.dataset) and split == "test":
        store(run, result)
    return result


def _data(
    run: Run, dataset: str | None, *, skip_bad_images: bool
) -> tuple["Dataset", "Preprocessing"]:
    """The run's data set, or another that fits its network, and the way into it."""
    from training.data.preprocessing import Preprocessing
    from training.data.sources import load_foreign, run_data

    config = run.config
    if dataset in (None, run.recipe.dataset):
        data = run_data(run)
    else:
        data = load_foreign(dataset, skip_bad_images=skip_bad_images)
    trained_on = tuple(config["dataset"]["labels"])
    if data.labels != trained_on:
        raise UsageError(
            f"classes of {data.name} must be the run's, {_short(trained_on)}; got "
            f"{_short(data.labels)}"
        )
    prepared = Preprocessing.from_dict(config["preprocessing"])
    if data.channels != prepared.channels:
        raise UsageError(
            f"images of {data.name} must have the run's {prepared.channels} channels, "
            f"got {data.channels}"
        )
    return data, prepared


def _short(labels: tuple[str, ...]) -> str:
    return f"{len(labels)} classes ({', '.join(labels[:4])}, …)"


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m training.evaluate")
    run = Run.open(options.run)
    command.start_backend()
    result = evaluate_run(
        run,
        options.split,
        options.dataset,
        skip_bad_images=options.skip_bad_images,
        tta=options.tta,
    )
    print(readable(result))


if __name__ == "__main__":
    command.run(main)
