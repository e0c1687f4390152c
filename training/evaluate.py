"""``python -m training.evaluate RUN``: a network on a split, each image once."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from keras_resnet import command
from keras_resnet.errors import UsageError
from training.runs import Run, write_json

if TYPE_CHECKING:
    from training.datasets import Dataset
    from training.metrics import Evaluator
    from training.preprocessing import Preprocessing

BATCH_SIZE = 256


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


def evaluate(
    evaluator: "Evaluator", dataset: "Dataset", prepared: "Preprocessing", split: str
) -> dict[str, Any]:
    """Returns ``split``, ``examples``, ``top1``, ``top5`` (shares) and ``loss``."""
    from training.pipeline import evaluation_batches

    examples = dataset.split(split)
    batches = evaluator.replicas.batches(
        lambda share: evaluation_batches(examples, prepared, BATCH_SIZE, share)
    )
    logs = evaluator(batches)
    return {"split": split} | {k: logs[k] for k in ("examples", "top1", "top5", "loss")}


def evaluate_run(
    run: Run,
    split: str = "test",
    dataset: str | None = None,
    *,
    skip_bad_images: bool = False,
) -> dict[str, Any]:
    """Evaluates a run's network; the run's own test split goes to evaluation.json.

    Raises:
        UsageError: The data set has other classes, or no such split.
    """
    from keras_resnet.models import load_model
    from training.metrics import Evaluator
    from training.preprocessing import Preprocessing
    from training.sources import load_foreign, run_data

    config = run.config
    if dataset in (None, run.recipe.dataset):
        dataset = None
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
    data.split(split)
    evaluator = Evaluator(
        load_model(run.model), prepared, jit_compile=config["device"]["xla"]
    )
    result = evaluate(evaluator, data, prepared, split)
    if dataset is None and split == "test":
        write_json(run.evaluation, result)
    return result


def _short(labels: tuple[str, ...]) -> str:
    return f"{len(labels)} classes ({', '.join(labels[:4])}, …)"


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m training.evaluate")
    run = Run.open(options.run)
    command.start_backend()
    result = evaluate_run(
        run, options.split, options.dataset, skip_bad_images=options.skip_bad_images
    )
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    command.run(main)
