"""``python -m training.fit``: trains a network, into the folder of a run."""

import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from keras_resnet import command
from keras_resnet.errors import UsageError
from training.recipes import RECIPES, Recipe, load_recipe
from training.runs import Run

if TYPE_CHECKING:
    from training.session import Adapt


@dataclass(frozen=True)
class Options:
    """Train an image classifier.

    Every field of the recipe is an option; what is not given comes from --recipe.
    """

    hyperparameters: tyro.conf.OmitArgPrefixes[Recipe] = field(default_factory=Recipe)
    base: Annotated[str, tyro.conf.arg(name="recipe")] = "default"
    """Where the other options' defaults come from: the name of a recipe (an unknown
    one lists them all), a JSON file of such fields, or a run's config.json."""
    out: Path | None = None
    """Folder of the run; None: runs/MODEL-DATASET."""
    resume: bool = False
    """Continue the interrupted run in --out."""

    @property
    def run(self) -> Run:
        """The folder to train in."""
        if self.out is not None:
            return Run(self.out)
        kind, _, rest = self.hyperparameters.dataset.partition(":")
        data = Path(rest).name.replace(":", "-") or kind
        return Run(Path("runs") / f"{self.hyperparameters.model}-{data}")


def read_options(argv: list[str]) -> Options:
    """Reads the command line; ``--recipe`` and ``--resume`` give the other defaults.

    Raises:
        UsageError: An option is wrong, or the run to resume is missing or another.
    """
    prog = "python -m training.fit"
    base = next(
        (b for a, b in pairwise(argv) if a == "--recipe"),
        next((a[9:] for a in argv if a.startswith("--recipe=")), None),
    )
    recipe = load_recipe(base) if base else RECIPES["default"]
    options = command.parse(Options, argv, default=Options(recipe), prog=prog)
    if not options.resume:
        return options
    stored = Run.open(options.run.path).recipe
    if base is None:
        default = Options(stored, out=options.run.path)
        options = command.parse(Options, argv, default=default, prog=prog)
    asked = options.hyperparameters.to_dict()
    changed = [name for name, value in stored.to_dict().items() if asked[name] != value]
    if changed:
        name = changed[0]
        raise UsageError(
            f"--resume continues the same recipe, {name} "
            f"{stored.to_dict()[name]!r}, got {asked[name]!r}; leave the option away "
            "or train into another folder"
        )
    return options


def _require_new(run: Run) -> None:
    path = run.path
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        what = "a run" if run.exists else "something else"
        raise UsageError(
            f"output folder must be new, got {path} with {what} in it; continue a run "
            "with --resume or choose another --out"
        )


def train(recipe: Recipe, run: Run, adapt: "Adapt | None" = None) -> None:
    """Trains a recipe in the folder of ``run``, or continues there.

    Nothing is written before the recipe is known to be possible.

    Args:
        recipe: The hyperparameters.
        run: The folder.
        adapt: As of ``training.session.train``.

    Raises:
        UsageError: Recipe, data or disk do not allow it.
        Stopped: A signal or a non-finite loss ended it.
    """
    from training import config, session

    prepared = session.prepare(recipe)
    described = config.config(prepared)
    if run.exists:
        config.require_same(run.config, described)
    else:
        run.create(described)
    config.announce(prepared, run)
    session.train(prepared, run, adapt)


def main() -> None:
    """Runs the command line."""
    options = read_options(sys.argv[1:])
    run = options.run
    if not options.resume:
        _require_new(run)
    if run.complete:
        print(f"{run.path} is complete: {run.evaluation.read_text('utf-8').strip()}")
        return
    command.start_backend()
    train(options.hyperparameters, run)


if __name__ == "__main__":
    command.run(main)
