"""Defines the options of ``python -m training.sweep``."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from keras_resnet import command
from keras_resnet.errors import UsageError, require_choice
from keras_resnet.numeric import plain
from training.distributed.processes import MOST_WORKERS
from training.recipes.catalogue import RECIPE_HELP, RECIPES, load_recipe
from training.recipes.checks import Range, check_ranges
from training.recipes.recipe import Recipe

if TYPE_CHECKING:
    from training.sweeps.presets import Preset

MOST_SEEDS = 10_000
TRIALS = 20  # by default, except for a grid


@dataclass(frozen=True)
class Search:
    """The search: its space, its tuner and its limits."""

    space: tuple[str, ...] = ()
    """Fields of the recipe or the network's spec: `cardinality=1,2,4`, `width=?` (see
    --match), `learning_rate=1e-3..1e0:log`, `depths=(1,1,1),(2,2,2)`."""
    preset: str | None = None
    """A comparison from the papers: cardinality, depth, degradation,
    width-depth-cardinality, growth-rate or survival."""
    tuner: Literal["grid", "random", "bayesian", "hyperband"] | None = None
    """How points are chosen; None: grid for a preset, otherwise random. hyperband
    trains many for few epochs and retrains the best of them for more."""
    trials: Annotated[int | None, Range(1)] = None
    """Maximum number of trials; None: all points of a grid, otherwise 20. hyperband
    sets its own number."""
    seeds: Annotated[int, Range(1, MOST_SEEDS)] = 1
    """How often each point of a grid is trained, with seeds from --seed upwards."""
    match: tuple[str, ...] = ()
    """Cost to match: `params` or `macs`, followed by a network, `self` (the recipe's
    own) or `2*self` (twice its cost). One width of each network is chosen to reach
    it."""
    max_params: int | None = None
    """Maximum number of parameters of a network."""
    max_macs: int | None = None
    """Maximum multiply-accumulates per image of a network."""

    @property
    def chosen_tuner(self) -> str:
        """The tuner that chooses the points."""
        return self.tuner or ("grid" if self.preset else "random")

    @property
    def max_trials(self) -> int | None:
        """The maximum number of trials; None: all points, or what hyperband needs."""
        unlimited = self.chosen_tuner in ("grid", "hyperband")
        return self.trials or (None if unlimited else TRIALS)

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.match and len(self.match) != 2:
            raise UsageError(
                f"match must be params or macs followed by a network, got "
                f"{' '.join(self.match)!r}; use --match params self"
            )


@dataclass(frozen=True)
class Options:
    """Train a network many times with different hyperparameters.

    The recipe sets the fields that the space omits; each trial is an ordinary run.
    """

    search: tyro.conf.OmitArgPrefixes[Search] = field(default_factory=Search)
    hyperparameters: tyro.conf.OmitArgPrefixes[Recipe] = field(default_factory=Recipe)
    base: Annotated[str, tyro.conf.arg(name="recipe", help=RECIPE_HELP)] = "default"
    out: Path = tyro.MISSING
    """Folder of the sweep."""
    resume: bool = False
    """Resume the sweep in --out."""
    workers: Annotated[int, Range(1, MOST_WORKERS)] = 1
    """Number of trials to run at once on this machine."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class _Base:
    """The options that set the defaults of the others."""

    base: Annotated[str, tyro.conf.arg(name="recipe")] = ""
    preset: str = ""


def read_options(argv: list[str]) -> Options:
    """Parses the command line; preset, recipe or stored sweep set the defaults.

    Raises:
        UsageError: An option is invalid, or there is no sweep to resume.
    """
    prog = "python -m training.sweep"
    given = command.parse_some(_Base, argv)
    recipe = load_recipe(given.base) if given.base else RECIPES["default"]
    if given.preset:
        recipe = replace(recipe, **find_preset(given.preset).recipe)
    options = command.parse(Options, argv, default=Options(Search(), recipe), prog=prog)
    if options.resume and given == _Base():
        options = command.parse(Options, argv, default=_stored(options.out), prog=prog)
    _require_together(options.search)
    return options


def _require_together(search: Search) -> None:
    if search.preset and search.space:
        raise UsageError(f"--space must be omitted with --preset, got {search.space}")
    rows = search.preset and find_preset(search.preset).points
    if rows and search.tuner not in (None, "grid"):
        raise UsageError(
            f"--tuner must be grid with the preset {search.preset}, whose points "
            f"belong together, got {search.tuner}"
        )
    tuner = search.chosen_tuner
    if search.seeds > 1 and tuner != "grid":
        raise UsageError(
            f"--seeds must be 1 with {tuner}, which never repeats a point, got "
            f"{search.seeds}; use --tuner grid"
        )
    if search.tuner == "hyperband" and search.trials is not None:
        raise UsageError(
            f"--trials must be omitted with hyperband, which derives it from --epochs, "
            f"got {search.trials}"
        )


def find_preset(name: str) -> "Preset":
    """Returns the preset called ``name``.

    Raises:
        UsageError: There is no such preset.
    """
    from training.sweeps.presets import PRESETS

    require_choice("preset", name, PRESETS)
    return PRESETS[name]


def _stored(out: Path) -> Options:
    from training.sweeps.folder import Sweep

    sweep = Sweep(out)
    if not sweep.exists:
        raise UsageError(
            f"--out must hold a sweep with --resume, got {str(out)!r}; omit "
            "--resume to start one"
        )
    search = {name: plain(value) for name, value in sweep.settings["search"].items()}
    recipe = Recipe.from_dict(sweep.settings["recipe"])
    return Options(Search(**search), recipe, out=out)
