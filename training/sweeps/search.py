"""Runs all trials of a sweep and writes its outputs."""

from dataclasses import asdict, replace
from typing import Any

from keras_resnet.errors import Stopped
from training.data.identity import describe_dataset
from training.storage.lock import exclusive_lock
from training.sweeps.data import (
    require_same_data,
    store_data_location,
    with_data_location,
)
from training.sweeps.display import Display
from training.sweeps.folder import Sweep
from training.sweeps.hparams import write_hparams
from training.sweeps.options import Options
from training.sweeps.oracles import ORACLES
from training.sweeps.plan import Plan
from training.sweeps.planning import make_plan
from training.sweeps.points import format_point
from training.sweeps.report import write_report
from training.sweeps.results import rows_of, write_results
from training.sweeps.trials import CHIEF, ProcessTuner

SHOWN_EXCLUDED = 5  # points


def run_search(options: Options, tuner_id: str | None) -> None:
    """Runs all trials and writes the report, or runs trials for another process.

    Args:
        options: The command line.
        tuner_id: keras-tuner's name of this process: the chief, which hands out the
            trials, or a worker, which runs them; None: there are no other processes.

    Raises:
        Stopped: A signal arrived, or no trial has a result.
        UsageError: The options are invalid or differ from those of the sweep.
    """
    sweep = Sweep(options.out)
    plan, options = plan_of(options)
    tuner, max_trials = options.search.chosen_tuner, options.search.max_trials
    oracle = ORACLES[tuner](plan, max_trials)
    if tuner_id and tuner_id != CHIEF:
        require_same_data(sweep, plan.data)
        ProcessTuner(oracle, plan, sweep, [tuner_id]).search()
        return
    begin(sweep, options, plan)
    if tuner == "grid":
        _print_excluded(plan)
    with (
        exclusive_lock(sweep.path / "lock", "a sweep must be run", sweep.path),
        Display(sweep, plan.count(tuner, max_trials), options.workers) as display,
    ):

        def update_outputs() -> None:
            write_results(sweep)
            write_hparams(sweep)
            display.update()

        oracle.restore(sweep, update_outputs)
        update_outputs()
        workers = [f"worker{i}" for i in range(options.workers)]
        ProcessTuner(oracle, plan, sweep, workers).search()
    print(f"report: {write_report(sweep)}")
    require_result(sweep)


def plan_of(options: Options) -> tuple[Plan, Options]:
    """Returns the plan, and the options with the data's location if they resume."""
    sweep, recipe = Sweep(options.out), options.hyperparameters
    if options.resume and sweep.exists:
        recipe = with_data_location(sweep, recipe)
        options = replace(options, hyperparameters=recipe)
    return make_plan(options.search, recipe, former=sweep.former), options


def begin(sweep: Sweep, options: Options, plan: Plan) -> None:
    """Creates the folder, or checks that it contains this very sweep, of the same data.

    Args:
        sweep: The sweep.
        options: The command line.
        plan: The plan of these options.

    Raises:
        UsageError: The folder contains something else.
    """
    if options.resume:
        require_same_data(sweep, plan.data)
    sweep.begin(settings_of(options, plan), resume=options.resume)
    store_data_location(sweep, plan.data)


def settings_of(options: Options, plan: Plan) -> dict[str, Any]:
    """Returns what ``sweep.json`` stores."""
    return {
        "search": asdict(options.search),
        "recipe": options.hyperparameters.to_dict(),
        "fields": plan.fields,
        "target": plan.budget.match and [plan.budget.match[0], plan.target],
        "prefix": "t",  # of the trial names
        "dataset": describe_dataset(plan.data),
    }


def _print_excluded(plan: Plan) -> None:
    points = plan.excluded()
    if points:
        print(
            f"left out: {len(points)} of {len(plan.points)} points, which are invalid "
            f"or exceed the budget: "
            f"{'; '.join(map(format_point, points[:SHOWN_EXCLUDED]))}"
            f"{'; …' if len(points) > SHOWN_EXCLUDED else ''}"
        )


def require_result(sweep: Sweep) -> None:
    """Checks whether at least one trial has a result.

    Raises:
        Stopped: No trial has a result.
    """
    rows = rows_of(sweep)
    if all(row["status"] != "completed" for row in rows):
        reasons = [row["reason"] for row in rows if row["reason"]]
        raise Stopped(
            f"at least one trial must have a result, got none of {len(rows)}"
            f"{f' (last: {reasons[-1]})' if reasons else ''}; see {sweep.path / 'logs'}"
        )
