"""Hyperband over spaces of few points, with failures, and after a kill."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from training.recipes.recipe import Recipe
from training.sweeps.folder import Sweep
from training.sweeps.journaled import OBJECTIVE, JournaledOracle
from training.sweeps.options import Search
from training.sweeps.oracles import Hyperband
from training.sweeps.plan import Plan
from training.sweeps.planning import make_plan

Epochs = dict[int, int]  # of trials -> how many trials

# keras-tuner 1.4.8 asks for threading.currentThread().getName().
pytestmark = pytest.mark.filterwarnings(
    "ignore:(currentThread|getName):DeprecationWarning"
)


def plan_of(points: int, epochs: int) -> Plan:
    space = f"seed={','.join(map(str, range(points)))}"
    return make_plan(Search(space=(space,), tuner="hyperband"), Recipe(epochs=epochs))


def begun(folder: Path, plan: Plan) -> JournaledOracle:
    sweep = Sweep(folder)
    if not sweep.exists:
        sweep.begin({}, resume=False)
    oracle = Hyperband(plan)
    oracle.restore(sweep, lambda: None)
    return oracle


def play(
    oracle: JournaledOracle, fails: tuple[int, ...] = (), workers: int = 1
) -> None:
    """Ends every trial at once; a seed is the better, the higher it is."""
    for turn in range(10_000):
        trial = oracle.create_trial(f"tuner{turn % workers}")
        if trial.status == "STOPPED":
            return
        if trial.status == "IDLE" or turn % 4 == 0:  # some take a while
            continue
        seed = trial.hyperparameters.values["seed"]
        trial.status = "FAILED" if seed in fails else "COMPLETED"
        if trial.status == "COMPLETED":
            oracle.update_trial(trial.trial_id, {OBJECTIVE: seed / 100})
        oracle.end_trial(trial)
    raise AssertionError("it never ended")


def epochs_of(oracle: JournaledOracle) -> Epochs:
    values = [t.hyperparameters.values for t in oracle.trials.values()]
    return dict(Counter(v["tuner/epochs"] for v in values))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    ("points", "epochs", "expected"),
    [
        # Li et al., 2018: n points for r epochs, then a third of them for three times
        # as many. At 9 epochs the first bracket is 9, 3 and 1.
        (1, 9, {1: 1, 3: 1, 9: 1}),
        (4, 9, {1: 4, 3: 2, 9: 1}),
        (9, 9, {1: 9, 3: 3, 9: 1}),
        (10, 9, {1: 9, 3: 3 + 1, 9: 1 + 1}),
        (34, 30, {2: 34, 4: 12, 10: 4, 30: 2}),
        (200, 9, {1: 9, 3: 3 + 5, 9: 1 + 2 + 3}),
    ],
)
def test_brackets_shrink_to_the_points_that_there_are(
    points: int, epochs: int, expected: Epochs, workers: int, tmp_path: Path
) -> None:
    oracle = begun(tmp_path, plan_of(points, epochs))
    play(oracle, workers=workers)
    assert epochs_of(oracle) == expected
    longest = [
        t.hyperparameters.values["seed"]
        for t in oracle.trials.values()
        if t.hyperparameters.values["tuner/epochs"] == epochs
    ]
    if points <= 9:
        assert longest == [points - 1]  # the best


@pytest.mark.parametrize(
    ("fails", "expected"),
    [
        ((8,), {1: 9, 3: 3, 9: 1}),
        (tuple(range(2, 9)), {1: 9, 3: 2, 9: 1}),
        (tuple(range(9)), {1: 9}),
    ],
)
def test_failures_do_not_hold_the_others_up(
    fails: tuple[int, ...], expected: Epochs, tmp_path: Path
) -> None:
    oracle = begun(tmp_path, plan_of(9, 9))
    play(oracle, fails)
    assert epochs_of(oracle) == expected


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_search_ends_as_an_uninterrupted_one(
    workers: int, tmp_path: Path
) -> None:
    plan = plan_of(11, 9)
    whole = begun(tmp_path / "whole", plan)
    play(whole, fails=(3,), workers=workers)
    lines = (tmp_path / "whole" / "journal.jsonl").read_text().splitlines(True)
    for cut in range(0, len(lines), 3):
        folder = tmp_path / str(cut)
        Sweep(folder).begin({}, resume=False)
        (folder / "journal.jsonl").write_text("".join(lines[:cut]))
        oracle = begun(folder, plan)
        play(oracle, fails=(3,), workers=workers)
        assert epochs_of(oracle) == epochs_of(whole)
        if workers == 1:
            assert values_of(oracle) == values_of(whole)


def values_of(oracle: JournaledOracle) -> dict[str, Any]:
    return {n: t.hyperparameters.values for n, t in oracle.trials.items()}


def test_a_search_that_an_older_version_ended_early_goes_on(tmp_path: Path) -> None:
    plan = plan_of(4, 9)
    play(begun(tmp_path / "whole", plan))
    lines = (tmp_path / "whole" / "journal.jsonl").read_text().splitlines(True)
    # It asked for a fifth point, found none and stopped.
    asked = '{"event": "asked", "tuner": "tuner0"}\n'
    Sweep(tmp_path / "old").begin({}, resume=False)
    (tmp_path / "old" / "journal.jsonl").write_text("".join([*lines[:8], asked]))
    play(begun(tmp_path / "old", plan))
    again = begun(tmp_path / "old", plan)
    assert epochs_of(again) == {1: 4, 3: 2, 9: 1}
    events = Sweep(tmp_path / "old").events()
    names = [e["trial"] for e in events if e["event"] == "begun"]
    assert names == [e["trial"] for e in events if e["event"] == "ended"]
    assert len(names) == 7
