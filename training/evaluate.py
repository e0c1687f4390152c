"""Evaluates a trained model on a split: ``python -m training.evaluate RUN``."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from keras_resnet import command
from keras_resnet.errors import UsageError, first_few
from training.reports.facts import lowest
from training.runs.run import Run
from training.storage.json_text import format_json
from training.storage.writing import (
    make_folder,
    report_write_errors,
    require_writable,
    write_json,
)

if TYPE_CHECKING:
    from training.data.preprocessing import Preprocessing
    from training.data.types import Dataset

MOST_CLASSES = 100  # maximum for printing the class table and the confusion matrix


@dataclass(frozen=True)
class Options:
    """Evaluate a trained model on every image of a split, exactly once."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    split: str = "test"
    """Split to evaluate: train, val or test."""
    dataset: str | None = None
    """Another data set with the same classes, or the new location of the run's own,
    which is recognised by its contents; None: the run's own at its stored location."""
    skip_bad_images: bool = False
    """Skip files that are not images, like a run that was trained with this option. The
    other images must still be the run's, unless --dataset is given."""
    tta: bool = False
    """Average the probabilities of each image and its mirror image, or of small shifts
    if the run's images are not mirrored; nothing is then written to the run."""
    out: Path | None = None
    """JSON file for the full result; the printed result omits tables of more than a
    hundred classes."""


def evaluate_run(
    run: Run, split: str = "test", dataset: str | None = None
) -> dict[str, Any]:
    """Evaluates a run's model in this process, on one device, in float32.

    The result for the run's own, unchanged test split is stored in its folder.

    Args:
        run: A complete run.
        split: Name of the split: train, val or test.
        dataset: See ``Options``.

    Returns:
        The result of ``assess``.

    Raises:
        UsageError: The data set has other classes or no such split, or the folder is
            not writable.
    """
    result, belongs_to_run = _evaluate(run, Options(run.path, split, dataset))
    if belongs_to_run:
        _store(run, result)
    return result


def _evaluate(run: Run, options: Options) -> tuple[dict[str, Any], bool]:
    """Returns the result and whether it belongs in the run's folder."""
    from training.distributed.backend import backend
    from training.evaluation.assessment import assess, predict
    from training.evaluation.metrics import Evaluator
    from training.evaluation.views import views
    from training.experiment.models import load_trained_model

    config, split = run.config, options.split
    data, preprocessing, own = _load_data(run, options)
    data.split(split)
    averaged = views(mirrored=config["dataset"]["flip"]) if options.tta else {}
    evaluator = Evaluator(
        load_trained_model(run),
        preprocessing,
        jit_compile=config["device"]["xla"] and backend.detect_hardware().kind == "gpu",
        views=tuple(averaged.values()),
    )
    result = assess(predict(evaluator, data, preprocessing, split), data, split)
    if averaged:
        return {**result, "views": list(averaged)}, False
    return result, own and split == "test"


def _store(run: Run, result: dict[str, Any]) -> None:
    from training.evaluation.assessment import write_assessment

    with report_write_errors(run.path):
        write_assessment(run, result)


def _load_data(run: Run, options: Options) -> tuple["Dataset", "Preprocessing", bool]:
    """Returns a data set, its preprocessing and whether it is the run's own."""
    from training.data.preprocessing import Preprocessing
    from training.experiment.data import (
        load_good_run_dataset,
        load_other_dataset,
        load_run_dataset,
    )

    config = run.config
    if options.dataset is not None:
        data, own = load_other_dataset(
            run, options.dataset, skip_bad_images=options.skip_bad_images
        )
    elif options.skip_bad_images:
        data, own = load_good_run_dataset(run)
    else:
        data, own = load_run_dataset(run), True
    trained_on = tuple(config["dataset"]["labels"])
    if data.labels != trained_on:
        raise UsageError(
            f"classes of {data.name} must be the run's, {_short(trained_on)}, got "
            f"{_short(data.labels)}, {_difference(data.labels, trained_on)}"
        )
    preprocessing = Preprocessing.from_dict(config["preprocessing"])
    if data.channels != preprocessing.channels:
        raise UsageError(
            f"images of {data.name} must have the run's {preprocessing.channels} "
            f"channels, got {data.channels}"
        )
    if not own:
        _warn_of_other_data(run, data)
    return data, preprocessing, own


def _warn_of_other_data(run: Run, data: "Dataset") -> None:
    notes = f" ({'; '.join(data.notes)})" if data.notes else ""
    print(
        f"warning: {data.name} differs from the data of {run.path}{notes}: nothing is "
        "written to the run",
        file=sys.stderr,
    )


def _short(labels: tuple[str, ...]) -> str:
    return f"{len(labels)} classes ({first_few(labels, 4)})"


def _difference(labels: tuple[str, ...], expected: tuple[str, ...]) -> str:
    if added := sorted(set(labels) - set(expected)):
        return f"with {first_few(added, 4)}"
    if absent := sorted(set(expected) - set(labels)):
        return f"without {first_few(absent, 4)}"
    return "in another order"


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m training.evaluate")
    run = Run.open(options.run)
    run.require_complete()
    if options.out is not None:
        require_writable(options.out)
    command.load_backend("tensorflow", "jax")
    result, belongs_to_run = _evaluate(run, options)
    print(format_json(_summary(result)), flush=True)
    if belongs_to_run:
        _store(run, result)
    if options.out is not None:
        with report_write_errors(options.out):
            make_folder(options.out.parent)
            write_json(options.out, result)


def _summary(result: dict[str, Any]) -> dict[str, Any]:
    """Returns the part to print: of many classes, only those of lowest recall."""
    count = len(result["classes"])
    if count <= MOST_CLASSES:
        return result
    few = {k: v for k, v in result.items() if k not in ("classes", "confusion")}
    return few | {"class_count": count, "lowest": lowest(result["classes"])}


if __name__ == "__main__":
    command.run(main)
