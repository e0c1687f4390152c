"""Trains a model in a run folder: ``python -m training.fit``."""

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from keras_resnet import command
from keras_resnet.errors import Stopped, UsageError
from training.distributed import cluster, launch
from training.distributed.processes import MOST_WORKERS
from training.engine.saving import CheckpointOptions
from training.recipes.catalogue import RECIPE_HELP, RECIPES, load_recipe
from training.recipes.checks import Range, check_ranges
from training.recipes.recipe import Recipe
from training.runs.run import Run
from training.storage.writing import output_exists_error


@dataclass(frozen=True)
class Options:
    """Train an image classifier.

    Every field of the recipe is an option; its default comes from --recipe.
    """

    hyperparameters: tyro.conf.OmitArgPrefixes[Recipe] = field(default_factory=Recipe)
    base: Annotated[str, tyro.conf.arg(name="recipe", help=RECIPE_HELP)] = "default"
    out: Path | None = None
    """Folder of the run; None: runs/MODEL-DATASET."""
    resume: bool = False
    """Continue the interrupted run in --out."""
    saving: tyro.conf.OmitArgPrefixes[CheckpointOptions] = field(
        default_factory=CheckpointOptions
    )
    profile: Annotated[int, Range(0)] = 0
    """Number of steps to record for TensorBoard, after the first five; 0: none."""
    workers: Annotated[int, Range(1, MOST_WORKERS)] = 1
    """Number of processes on this machine, which share its GPUs and train one model."""
    max_restarts: Annotated[int, Range(0)] = 0
    """Maximum number of restarts of all workers from the last checkpoint."""
    ray: str | None = None
    """Start the workers on the Ray cluster at this address instead (`auto`: the running
    one; `local`: a new one on this machine); requires `residual-keras[ray]`."""

    @property
    def run(self) -> Run:
        """The run to train, new or interrupted."""
        if self.out is not None:
            return Run(self.out)
        kind, _, rest = self.hyperparameters.dataset.partition(":")
        data = Path(rest).name.replace(":", "-") or kind
        return Run(Path("runs") / f"{self.hyperparameters.model}-{data}")

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class _Base:
    """The option that gives the defaults of the other options."""

    base: Annotated[str, tyro.conf.arg(name="recipe")] = ""


def read_options(argv: list[str]) -> Options:
    """Reads the command line, with defaults from ``--recipe`` or ``--resume``.

    Raises:
        UsageError: An option is invalid, or the run to resume is missing or another.
    """
    prog = "python -m training.fit"
    base = command.parse_some(_Base, argv).base
    recipe = load_recipe(base) if base else RECIPES["default"]
    options = command.parse(Options, argv, default=Options(recipe), prog=prog)
    if not options.resume:
        return options
    stored = Run.open(options.run.path).recipe
    if not base:
        default = Options(stored, out=options.run.path)
        options = command.parse(Options, argv, default=default, prog=prog)
    given = options.hyperparameters
    for name, value in stored.fixed.items():
        if given.fixed[name] != value:
            got = getattr(given, name)
            named = base and got == getattr(recipe, name)
            option = "--recipe" if named else f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{name} must be the run's, {value!r}, to resume it, got {got!r}; omit "
                f"{option} or train into another folder"
            )
    return options


def _require_new(run: Run) -> None:
    if run.path.exists() and not run.merely_locked:
        raise output_exists_error(run.path, "a run" if run.exists else None)


def main() -> None:
    """Runs the command line."""
    options = read_options(sys.argv[1:])
    run = options.run
    place = cluster.tf_config(os.environ)
    if cluster.is_chief(place) and not options.resume:
        _require_new(run)
    if run.complete:
        print(f"{run.path} is complete: {run.evaluation.read_text('utf-8').strip()}")
        return
    several = options.ray or options.workers > 1 or options.max_restarts
    if several and place is None and launch.WATCHED not in os.environ:
        _launch(options)
        return
    if place is not None:
        os.environ["TF_CONFIG"] = json.dumps(place)
    command.load_backend("tensorflow", "jax")
    train_here(options)


def train_here(options: Options) -> None:
    """Trains in this process, which is the only one or one of several workers.

    Raises:
        Stopped: Another worker is gone, or ``train`` was stopped.
    """
    from training.distributed.backend import backend
    from training.engine.callbacks.profiling import Profile
    from training.experiment.train import train

    run, steps = options.run, options.profile
    adapt = (lambda _: [Profile(run, steps)]) if steps else None
    with backend.ending_soon():
        try:
            train(options.hyperparameters, run, options.saving, adapt=adapt)
        except Exception as error:
            if not backend.is_lost(error):
                raise
            if launch.WATCHED in os.environ:
                sys.exit(launch.LOST)  # the parent process reports why
            reason = str(error).splitlines()[0]
            raise Stopped(
                f"all workers must run to the end, got {reason:.200}; "
                "the last checkpoint is kept: restart all workers with --resume"
            ) from error


def work(arguments: list[str]) -> None:
    """Trains as one of the workers that another process started."""
    options = read_options(arguments)
    command.load_backend("tensorflow", "jax")
    train_here(options)


def _launch(options: Options) -> None:
    """Starts workers that train, each of which reads the same command line."""
    arguments = sys.argv[1:]
    workers, restarts = options.workers, options.max_restarts
    if options.ray is None:
        launch.supervise(options.run, arguments, workers, restarts)
        return
    from training.distributed import ray_cluster
    from training.fit import work  # under a name that Ray's workers can import

    ray = ray_cluster.connect(options.ray)
    ray_cluster.supervise(ray, options.run, work, arguments, workers, restarts)


if __name__ == "__main__":
    command.run(main)
