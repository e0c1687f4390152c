"""Trains many recipes and compares them (``python -m training.sweep``)."""

import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from keras_resnet import command
from keras_resnet.errors import Stopped, UsageError
from training.recipes.recipe import Recipe
from training.sweeps.options import Options, Search, find_preset, read_options

if TYPE_CHECKING:
    from training.sweeps.folder import Sweep
    from training.sweeps.plan import Plan
    from training.sweeps.space import Point

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TRIALS = 20  # by default, except for a grid


def make_plan(search: Search, recipe: Recipe, *, former: bool = False) -> "Plan":
    """Returns the plan of a sweep.

    Args:
        search: Options of the search.
        recipe: The recipe at the origin of the space.
        former: Whether an older version began the sweep, so that network names have
            their former meaning.

    Raises:
        UsageError: The space is invalid, or no network is within the budget.
    """
    from training.sweeps.cost import Budget
    from training.sweeps.plan import Plan
    from training.sweeps.points import require_possible
    from training.sweeps.space import Choice, read_space

    rows: tuple[Point, ...] = ()
    space = read_space(search.space)
    match = cast("tuple[str, str] | None", search.match or None)
    if search.preset is not None:
        preset = find_preset(search.preset)
        space, rows = dict(preset.space), preset.points
        match = match or preset.match
    if search.seeds > 1:
        seeds = tuple(range(recipe.seed, recipe.seed + search.seeds))
        rows = tuple(row | {"seed": seed} for row in rows for seed in seeds)
        space["seed"] = Choice(seeds)
    require_possible(space, recipe)
    budget = Budget(search.max_params, search.max_macs, match)
    plan = Plan(recipe, space, budget, rows, former)
    if search.chosen_tuner == "grid":
        plan.require_grid()
    plan.require_room()
    return plan


def _located(options: Options) -> Options:
    """Returns the options with the data location of a sweep that is resumed."""
    from training.sweeps.data import with_location
    from training.sweeps.folder import Sweep

    sweep = Sweep(_out(options))
    if not (options.resume and sweep.exists):
        return options
    recipe = with_location(sweep, options.hyperparameters)
    return replace(options, hyperparameters=recipe)


def _plan_of(options: Options) -> tuple["Plan", str, int | None]:
    """Returns the plan, the tuner and the maximum number of trials."""
    from training.sweeps.folder import Sweep

    search = options.search
    former = Sweep(_out(options)).former
    plan = make_plan(search, options.hyperparameters, former=former)
    tuner = search.chosen_tuner
    trials = search.trials or (None if tuner == "grid" else TRIALS)
    return plan, tuner, trials


def _search(options: Options, place: str | None) -> None:
    """Runs all trials, or acts as the chief or the worker named ``place``."""
    from training.storage.lock import exclusive_lock
    from training.sweeps.display import Display
    from training.sweeps.folder import Sweep
    from training.sweeps.hparams import write_hparams
    from training.sweeps.oracles import make_oracle
    from training.sweeps.results import write_results
    from training.sweeps.trials import CHIEF, Trials

    plan, tuner, trials = _plan_of(options)
    sweep = Sweep(_out(options))
    oracle = make_oracle(tuner, plan, trials)
    if place not in (None, CHIEF):
        _require_same_data(sweep, plan)
        Trials(oracle, plan, sweep).search()
        return
    _say_what_is_left_out(plan, tuner)
    display = Display(sweep, plan.count(tuner, trials))

    def update_outputs() -> None:
        write_results(sweep)
        write_hparams(sweep)
        display.update()

    _begin(sweep, options, plan)
    with (
        exclusive_lock(sweep.path / "lock", "a sweep must be run", sweep.path),
        display,
    ):
        oracle.remember(plan, sweep, update_outputs)
        update_outputs()
        Trials(oracle, plan, sweep).search()


def _supervise(options: Options) -> None:
    """Runs the trials in worker processes."""
    from training.sweeps.display import Display
    from training.sweeps.folder import Sweep
    from training.sweeps.workers import supervise

    plan, tuner, trials = _plan_of(options)
    sweep = Sweep(_out(options))
    _begin(sweep, options, plan)
    _say_what_is_left_out(plan, tuner)
    total = plan.count(tuner, trials)
    with Display(sweep, total, at_a_time=options.workers) as display:
        supervise(sweep, options.workers, display.update)


def _begin(sweep: "Sweep", options: Options, plan: "Plan") -> None:
    """Makes the folder, or checks that it holds this very sweep, of the same data."""
    from training.sweeps.data import note_location

    if options.resume:
        _require_same_data(sweep, plan)
    sweep.begin(_settings(options, plan), resume=options.resume)
    note_location(sweep, plan.data)


def _require_same_data(sweep: "Sweep", plan: "Plan") -> None:
    from training.sweeps.data import require_same

    if sweep.exists:  # else it is about to be begun, here or by the chief
        require_same(sweep, plan.data)


def _say_what_is_left_out(plan: "Plan", tuner: str) -> None:
    from training.sweeps.points import named

    points = plan.left_out() if tuner == "grid" else []
    if points:
        print(
            f"left out: {len(points)} of {len(plan.points)} points, which are invalid "
            f"or exceed the budget: {'; '.join(map(named, points[:5]))}"
            f"{'; …' if len(points) > 5 else ''}"
        )


def _settings(options: Options, plan: "Plan") -> dict[str, Any]:
    from training.data.identity import describe_dataset

    return {
        "search": asdict(options.search),
        "recipe": options.hyperparameters.to_dict(),
        "fields": plan.fields,
        "target": plan.budget.match and [plan.budget.match[0], plan.target],
        "prefix": "t",  # of the trial names
        "dataset": describe_dataset(plan.data),
    }


def _out(options: Options) -> Path:
    assert options.out is not None  # read_options requires it
    return options.out


def main() -> None:
    """Runs the command line."""
    from training.sweeps.folder import Sweep
    from training.sweeps.report import write_report

    options = read_options(sys.argv[1:])
    place = os.environ.get("KERASTUNER_TUNER_ID") or None
    _require_chief_s_address(place)
    _warn_of_network()
    command.load_backend()
    options = _located(options)
    _leave_gpus_to_trials()
    if options.workers > 1 and place is None:
        _supervise(options)
    else:
        _search(options, place)
    from training.sweeps.trials import CHIEF

    if place in (None, CHIEF):
        sweep = Sweep(_out(options))
        print(f"report: {write_report(sweep)}")
        _require_result(sweep)


def _require_result(sweep: "Sweep") -> None:
    """Checks whether at least one trial has a result.

    Raises:
        Stopped: No trial has a result.
    """
    from training.sweeps.results import rows_of

    rows = rows_of(sweep)
    if all(row["status"] != "completed" for row in rows):
        reasons = [row["reason"] for row in rows if row["reason"]]
        raise Stopped(
            f"at least one trial must have a result, got none of {len(rows)}"
            f"{f' (last: {reasons[-1]})' if reasons else ''}; see {sweep.path / 'logs'}"
        )


def _require_chief_s_address(place: str | None) -> None:
    host, port = (
        os.environ.get(f"KERASTUNER_ORACLE_{name}", "") for name in ("IP", "PORT")
    )
    if place and not (host and port.isdecimal() and 0 < int(port) < 2**16):
        raise UsageError(
            "KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT must be the chief's "
            f"address, got {host!r} and {port!r} with KERASTUNER_TUNER_ID={place}; set "
            "both or unset KERASTUNER_TUNER_ID"
        )


def _leave_gpus_to_trials() -> None:
    """Hides the GPUs: TensorFlow would claim their memory only to count costs."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")


def _warn_of_network() -> None:
    address = os.environ.get("KERASTUNER_ORACLE_IP", LOOPBACK[0])
    if address not in LOOPBACK:
        print(
            f"warning: anyone who can reach {address} can join this sweep, because "
            "keras-tuner requires no password; restrict access to your own machines",
            file=sys.stderr,
        )


if __name__ == "__main__":
    command.run(main)
