"""Oracles: what they draw, and that keras-tuner keeps to what they rely on."""

import json
from pathlib import Path

import pytest
from keras_tuner.engine.trial import TrialStatus

from training.recipes.recipe import Recipe
from training.sweeps.encoding import decode, encode, hyperparameters
from training.sweeps.folder import Sweep
from training.sweeps.journaled import OBJECTIVE, JournaledOracle
from training.sweeps.options import Search
from training.sweeps.oracles import ORACLES
from training.sweeps.planning import make_plan
from training.sweeps.space import read_space

JOURNALS = Path(__file__).parent / "golden" / "sweeps_0_1"
SPACE = (
    *("learning_rate=1e-3..1e0:log", "momentum=0.8,0.9", "batch_size=1..64"),
    "width=16,24",  # the second is outside the budget
)
DRAWS_ELSE = (
    "keras-tuner draws other points from the same seeds than when the journal was "
    "written, so that sweeps of older versions cannot be resumed"
)

# keras-tuner 1.4.8 asks for threading.currentThread().getName().
pytestmark = pytest.mark.filterwarnings(
    "ignore:(currentThread|getName):DeprecationWarning"
)


def restored(tuner: str, folder: Path) -> JournaledOracle:
    plan = make_plan(
        Search(space=SPACE, max_params=100_000),
        Recipe(overrides=("depths=(1,1,1)",), epochs=9),
    )
    sweep = Sweep(folder)
    if not sweep.exists:
        sweep.begin({}, resume=False)
    # Later ones of bayesian depend on the arithmetic of the machine.
    oracle = ORACLES[tuner](plan, None if tuner == "hyperband" else 14)
    oracle.restore(sweep, lambda: None)
    return oracle


def play(oracle: JournaledOracle) -> None:
    """Ends each trial at once, one in five without a result."""
    while (trial := oracle.create_trial("tuner0")).status == TrialStatus.RUNNING:
        number = int(trial.trial_id)
        trial.status = TrialStatus.FAILED if number % 5 == 4 else TrialStatus.COMPLETED
        if trial.status == TrialStatus.COMPLETED:
            oracle.update_trial(trial.trial_id, {OBJECTIVE: number * 7 % 10 / 10})
        oracle.end_trial(trial)


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_a_journal_of_an_older_version_is_replayed(tuner: str, tmp_path: Path) -> None:
    stored = (JOURNALS / f"{tuner}.jsonl").read_text().splitlines(keepends=True)
    half = stored[: len(stored) // 2]
    Sweep(tmp_path).begin({}, resume=False)
    (tmp_path / "journal.jsonl").write_text("".join(half))
    play(restored(tuner, tmp_path))
    found = (tmp_path / "journal.jsonl").read_text().splitlines()
    for mine, theirs in zip(found, stored, strict=True):
        assert json.loads(mine) == json.loads(theirs), DRAWS_ELSE


def test_keras_tuner_writes_no_files(tmp_path: Path) -> None:
    play(restored("random", tmp_path))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"sweep.json", "journal.jsonl", "trials", "logs"}, (
        "keras-tuner wrote files of its own: it no longer calls Oracle._save_trial or "
        "Oracle.save, which training/sweeps/tuner_internals.py overrides"
    )
    assert not list((tmp_path / "logs").iterdir())


def test_values_of_points_are_numbers_or_text() -> None:
    space = read_space(["width=16,32", "depths=(1,1),(2,2)", "image_size=None,8"])
    assert [p.values for p in hyperparameters(space).space] == [
        [16, 32],
        ["(1, 1)", "(2, 2)"],
        ["None", "8"],
    ]
    point = {"width": 16, "depths": (2, 2), "image_size": None}
    assert decode(encode(point, space), space) == point
