"""``python -m training.evaluate RUN``: a network on a split, each image once."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from keras_resnet import command
from keras_resnet.errors import UsageError
from training.readable import readable
from training.runs import Run

if TYPE_CHECKING:
    from training.data.datasets import Dataset
    from training.data.preprocessing import Preprocessing


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
    from training.assessment import assess, predict, store
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
    run.require_complete()
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
