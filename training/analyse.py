"""Analyses trained runs: ``python -m training.analyse lesions | paths | gradients``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from keras_resnet import command
from keras_resnet.errors import UsageError
from training.recipes.checks import Range, check_ranges

if TYPE_CHECKING:
    import numpy as np

    from training.runs.run import Run

Count = Annotated[int, Range(1)]
RunFolder = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]


@dataclass(frozen=True, kw_only=True)
class _Analysis:
    seed: int = 0
    """Seed of the images and of all other random choices."""
    dataset: str | None = None
    """New location of the data set, if it was moved."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class LesionsOf(_Analysis):
    """Delete and reorder the units of a trained model (Veit et al., 2016)."""

    run: RunFolder
    """Folder of the run."""
    images: Count = 2000
    """Number of test images on which every error is measured."""
    draws: Count = 10
    """Number of random subsets, and of random orders, for each number of units."""
    most: Count = 20
    """Maximum number of units deleted, or of pairs swapped, at once."""


@dataclass(frozen=True)
class PathsOf(_Analysis):
    """Measure the gradient along paths of every length (Veit et al., 2016)."""

    run: RunFolder
    """Folder of the run."""
    images: Count = 512
    """Number of training images from which batches are drawn."""
    batch_size: Count = 32
    """Number of images per measurement."""
    samples: Count = 20
    """Number of paths of each length."""
    train_effective: bool = False
    """Afterwards train the run's recipe again in RUN-effective, with gradients on
    effective paths only."""


@dataclass(frozen=True)
class GradientsOf(_Analysis):
    """Measure gradients and dead ReLU channels of models before and after training."""

    runs: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN...")
    ]
    """Folders of the runs to compare; the results are written to the first one."""
    images: Count = 128
    """Number of training images in the batch."""


Command = (
    Annotated[LesionsOf, tyro.conf.subcommand("lesions")]
    | Annotated[PathsOf, tyro.conf.subcommand("paths")]
    | Annotated[GradientsOf, tyro.conf.subcommand("gradients")]
)


def main() -> None:
    """Runs the command line."""
    options: LesionsOf | PathsOf | GradientsOf = command.parse(
        Command,  # type: ignore[arg-type]
        prog="python -m training.analyse",
    )
    folders = options.runs if isinstance(options, GradientsOf) else (options.run,)
    if not folders:
        raise UsageError("gradients needs at least one run, got none; give its folder")
    from training.runs.run import Run

    runs = [Run.open(folder) for folder in folders]
    for run in runs:
        run.require_complete()
    command.load_backend("tensorflow")
    if isinstance(options, LesionsOf):
        _lesions(runs[0], options)
    elif isinstance(options, PathsOf):
        _paths(runs[0], options)
    else:
        _gradients(runs, options)


def _lesions(run: "Run", options: LesionsOf) -> None:
    from keras_resnet.analysis import lesions, plots
    from training.experiment.models import load_trained_model

    result = lesions.lesions(
        load_trained_model(run),
        _batches(run, "test", options, 256),
        draws=options.draws,
        most=options.most,
        seed=options.seed,
        progress=_progress("evaluations"),
    )
    summary, figure = plots.describe_lesions(result), plots.plot_lesions(result)
    print(result.table())
    _write(run, "lesions", result.to_dict(), result.rows(), (figure, summary))


def _paths(run: "Run", options: PathsOf) -> None:
    from keras_resnet.analysis import paths, plots
    from training.experiment.models import load_trained_model

    batches = _batches(run, "train", options, options.batch_size)
    size = len(batches[0][1])
    result = paths.paths(
        load_trained_model(run),
        [batch for batch in batches if len(batch[1]) == size],
        samples=options.samples,
        seed=options.seed,
        progress=_progress("paths"),
    )
    summary, figure = plots.describe_paths(result), plots.plot_paths(result)
    _write(run, "paths", result.to_dict(), result.rows(), (figure, summary))
    if options.train_effective:
        from training.experiment.effective_paths import train_effective

        train_effective(run, result.effective, options.dataset)


def _gradients(runs: Sequence["Run"], options: GradientsOf) -> None:
    from keras_resnet.analysis import gradients, plots
    from training.experiment.models import load_trained_model, load_untrained_model

    states = {"fresh": load_untrained_model, "trained": load_trained_model}
    folders = [run.path.name for run in runs]
    results = {}
    for run in runs:
        alone = folders.count(run.path.name) == 1
        name = run.path.name if alone else str(run.path)
        batch = _batches(run, "train", options, options.images)[0]
        for state, network in states.items():
            probe = gradients.GradientProbe(network(run), *batch)
            results[f"{name}, {state}"] = probe()
    rows = [{"network": name, **row} for name, r in results.items() for row in r.rows()]
    values = {name: result.to_dict() for name, result in results.items()}
    summary, figure = plots.describe_gradients(results), plots.plot_gradients(results)
    _write(runs[0], "gradients", {"networks": values}, rows, (figure, summary))


def _batches(
    run: "Run",
    split: str,
    options: LesionsOf | PathsOf | GradientsOf,
    batch_size: int,
) -> list[tuple["np.ndarray", "np.ndarray"]]:
    """Returns random images of a split, normalised for the model, and labels."""
    import numpy as np

    from training.data.pipeline import evaluation_batches
    from training.data.preprocessing import Preprocessing
    from training.experiment.data import load_run_dataset

    data = load_run_dataset(run, options.dataset).split(split)
    preprocessing = Preprocessing.from_dict(run.config["preprocessing"])
    order = np.random.default_rng(options.seed).permutation(len(data))[: options.images]
    batches = evaluation_batches(data.take(np.sort(order)), preprocessing, batch_size)
    return [(np.array(preprocessing.normalise(x)), np.array(y)) for x, y in batches]


def _progress(unit: str) -> Callable[[Any], Any]:
    from tqdm import tqdm

    return lambda items: tqdm(items, unit=f" {unit}")


def _write(
    run: "Run",
    name: str,
    values: dict[str, Any],
    rows: list[dict[str, Any]],
    picture: tuple[Any, str],
) -> None:
    """Prints the summary, then writes ``analysis/NAME.json``, ``.csv`` and figures."""
    from keras_resnet.figures import save
    from training.storage.writing import (
        make_folder,
        report_write_errors,
        write_atomically,
        write_csv,
        write_json,
    )

    folder = run.path / "analysis"
    figure, summary = picture
    print(summary, flush=True)  # first, since the folder may not be writable
    with report_write_errors(folder):
        make_folder(folder)
        write_json(folder / f"{name}.json", {**values, "summary": summary})
        write_csv(folder / f"{name}.csv", rows, list(rows[0]))
        for suffix in (".svg", ".png"):
            write_atomically(
                folder / f"{name}{suffix}",
                lambda file: save(figure, file, title=name, text=summary),
            )
    print(f"{name}: {folder / name}.json .csv .svg .png")


if __name__ == "__main__":
    command.run(main)
