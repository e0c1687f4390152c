"""``python -m training.sweep``: many recipes trained, compared and kept."""

import os
import sys
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from keras_resnet import command
from keras_resnet.errors import UsageError, require_choice, require_positive
from training.recipes import RECIPES, Recipe, load_recipe

if TYPE_CHECKING:
    from training.sweeps.plan import Plan
    from training.sweeps.space import Point

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TRIALS = 20  # where nothing is said and it is no grid


@dataclass(frozen=True)
class Search:
    """What is tried, and how much of it."""

    space: tuple[str, ...] = ()
    """Fields of the recipe or of the network's spec: `cardinality=1,2,4`,
    `learning_rate=1e-3..1e0:log`, `depths=(1,1,1),(2,2,2)`; `width=?`: see --match."""
    preset: str | None = None
    """A comparison of the papers': cardinality, depth, degradation,
    width-depth-cardinality, growth-rate or survival."""
    tuner: Literal["grid", "random", "bayesian", "hyperband"] | None = None
    """How points are chosen; None: grid for a preset, else random. hyperband trains
    many for few epochs and the best of them anew for more."""
    trials: int | None = None
    """Trials at most; None: all points of a grid, else 20. hyperband has its own
    number."""
    seeds: int = 1
    """Times that each point is trained, with seeds from --seed on."""
    match: tuple[str, str] | None = None
    """`params` or `macs`, and a network whose number of them all shall have, `self` for
    the recipe's own, `2*self` for twice that; a width is chosen accordingly."""
    max_params: int | None = None
    """Parameters that no network may exceed."""
    max_macs: int | None = None
    """Multiply-accumulates of an image that no network may exceed."""

    def __post_init__(self) -> None:
        require_positive(self, "seeds")
        if self.trials is not None:
            require_positive(self, "trials")


@dataclass(frozen=True)
class Options:
    """Train a network many times, with other hyperparameters each time.

    What the space does not say is the recipe's; each trial is an ordinary run.
    """

    search: tyro.conf.OmitArgPrefixes[Search] = field(default_factory=Search)
    hyperparameters: tyro.conf.OmitArgPrefixes[Recipe] = field(default_factory=Recipe)
    base: Annotated[str, tyro.conf.arg(name="recipe")] = "default"
    """Where the recipe's other fields come from: a name, a JSON file or a run's
    config.json."""
    out: Path | None = None
    """Folder of the sweep."""
    resume: bool = False
    """Continue the sweep in --out."""
    workers: int = 1
    """Trials at a time, on this machine."""

    def __post_init__(self) -> None:
        require_positive(self, "workers")


def read_options(argv: list[str]) -> Options:
    """Reads the command line; preset, recipe or stored sweep give the other defaults.

    Raises:
        UsageError: An option is wrong, or there is no such sweep to resume.
    """
    prog = "python -m training.sweep"
    base, preset = (_given(argv, name) for name in ("--recipe", "--preset"))
    recipe = load_recipe(base) if base else RECIPES["default"]
    if preset is not None:
        recipe = replace(recipe, **_preset(preset).recipe)
    options = command.parse(Options, argv, default=Options(Search(), recipe), prog=prog)
    if options.out is None:
        raise UsageError("--out must be the sweep's folder, got none; say --out SWEEP")
    if options.resume and base is None and preset is None:
        options = command.parse(Options, argv, default=_stored(options.out), prog=prog)
    if options.search.preset and options.search.space:
        raise UsageError(
            f"--space must be left away with a --preset, got {options.search.space}"
        )
    return options


def _given(argv: list[str], name: str) -> str | None:
    return next(
        (value for option, value in pairwise(argv) if option == name),
        next((a.partition("=")[2] for a in argv if a.startswith(f"{name}=")), None),
    )


def _preset(name: str) -> Any:
    from training.sweeps.presets import PRESETS

    require_choice("preset", name, PRESETS)
    return PRESETS[name]


def _stored(out: Path) -> Options:
    from training.sweeps.folder import Sweep

    sweep = Sweep(out)
    if not sweep.exists:
        raise UsageError(
            f"--resume must find a sweep in --out, got {str(out)!r}; leave it away to "
            "begin one"
        )
    search: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in sweep.settings["search"].items()
    }
    recipe = Recipe.from_dict(sweep.settings["recipe"])
    return Options(Search(**search), recipe, out=out)


def make_plan(search: Search, recipe: Recipe) -> "Plan":
    """Returns what a sweep tries.

    Raises:
        UsageError: The space is not possible, or no network is within the budget.
    """
    from training.sweeps.cost import Budget
    from training.sweeps.plan import Plan, require_possible
    from training.sweeps.space import Choice, read_space

    rows: tuple[Point, ...] = ()
    space, match = read_space(search.space), search.match
    if search.preset is not None:
        preset = _preset(search.preset)
        space, rows = dict(preset.space), preset.points
        match = match or preset.match
    if search.seeds > 1:
        seeds = tuple(range(recipe.seed, recipe.seed + search.seeds))
        rows = tuple(row | {"seed": seed} for row in rows for seed in seeds)
        space["seed"] = Choice(seeds)
    require_possible(space, recipe)
    budget = Budget(search.max_params, search.max_macs, match)
    plan = Plan(recipe, space, budget, rows)
    plan.require_room()
    return plan


def _plan_of(options: Options) -> tuple["Plan", str, int | None]:
    """The plan, the tuner, and how many trials there are at most."""
    search = options.search
    plan = make_plan(search, options.hyperparameters)
    tuner = search.tuner or ("grid" if search.preset else "random")
    trials = search.trials or (None if tuner == "grid" else TRIALS)
    return plan, tuner, trials


def _search(options: Options, place: str | None) -> None:
    """Runs trials: all of them, or as the chief or a worker that ``place`` names."""
    from training.lock import held
    from training.sweeps.display import Display
    from training.sweeps.folder import Sweep
    from training.sweeps.hparams import write_hparams
    from training.sweeps.oracles import make_oracle
    from training.sweeps.trials import CHIEF, Trials

    plan, tuner, trials = _plan_of(options)
    sweep = Sweep(_out(options))
    oracle = make_oracle(tuner, plan, trials)
    if place not in (None, CHIEF):
        Trials(oracle, plan, sweep).search()
        return
    _say_what_is_left_out(plan, tuner)
    display = Display(sweep, plan.count(tuner, trials))

    def heard() -> None:
        sweep.write_results()
        write_hparams(sweep)
        display.update()

    sweep.begin(_settings(options, plan), resume=options.resume)
    rule = f"a sweep must be run, got {sweep.path}"
    with held(sweep.path / "lock", rule), display:
        oracle.remember(plan, sweep, heard)
        heard()
        Trials(oracle, plan, sweep).search()


def _supervise(options: Options) -> None:
    """Has other processes run the trials."""
    from training.sweeps.display import Display
    from training.sweeps.folder import Sweep
    from training.sweeps.workers import supervise

    plan, tuner, trials = _plan_of(options)
    sweep = Sweep(_out(options))
    sweep.begin(_settings(options, plan), resume=options.resume)
    _say_what_is_left_out(plan, tuner)
    total = plan.count(tuner, trials)
    with Display(sweep, total, at_a_time=options.workers) as display:
        supervise(sweep, options.workers, display.update)


def _say_what_is_left_out(plan: "Plan", tuner: str) -> None:
    from training.sweeps.plan import named

    points = plan.left_out() if tuner == "grid" else []
    if points:
        print(
            f"left out: {len(points)} of {len(plan.points)} points, over the budget or "
            f"impossible: {'; '.join(map(named, points[:5]))}"
            f"{'; …' if len(points) > 5 else ''}"
        )


def _settings(options: Options, plan: "Plan") -> dict[str, Any]:
    return {
        "search": asdict(options.search),
        "recipe": options.hyperparameters.to_dict(),
        "fields": plan.fields,
        "target": plan.budget.match and [plan.budget.match[0], plan.target],
    }


def _out(options: Options) -> Path:
    assert options.out is not None  # read_options has seen to it
    return options.out


def main() -> None:
    """Runs the command line."""
    from training.sweeps.folder import Sweep
    from training.sweeps.report import write_report

    options = read_options(sys.argv[1:])
    place = os.environ.get("KERASTUNER_TUNER_ID")
    _require_chief_s_address(place)
    _warn_of_network()
    command.start_backend()
    if options.workers > 1 and place is None:
        _supervise(options)
    else:
        _search(options, place)
    from training.sweeps.trials import CHIEF

    if place in (None, CHIEF):
        print(f"report: {write_report(Sweep(_out(options)))}")


def _require_chief_s_address(place: str | None) -> None:
    names = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
    missing = [name for name in names if place and name not in os.environ]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} must say where the chief is, got only "
            f"KERASTUNER_TUNER_ID={place}; set them or unset it"
        )


def _warn_of_network() -> None:
    address = os.environ.get("KERASTUNER_ORACLE_IP", LOOPBACK[0])
    if address not in LOOPBACK:
        print(
            f"warning: whoever reaches {address} can take part in this sweep, as "
            "keras-tuner asks for no password: let only your own machines reach it",
            file=sys.stderr,
        )


if __name__ == "__main__":
    command.run(main)
