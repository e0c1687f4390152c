"""Checkpoints: complete or invisible, checked, and all that the future depends on."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_resnet.errors import UsageError
from training.engine.checkpoint import Checkpoints
from training.engine.progress import Progress
from training.engine.saving import CheckpointOptions, CheckpointTimer
from training.runs.run import Run

ROW = {"loss": 0.1 + 0.2, "val_top1": 1 / 3}


def checkpoints(folder: Path, *, width: int = 3, **saving: int) -> Checkpoints:
    image = keras.Input((4,))
    dense = keras.layers.Dense(width, name="dense")(image)
    model = keras.Model(image, keras.layers.Dropout(0.5)(dense))
    optimizer = keras.optimizers.Adam(use_ema=True, name="adam")
    optimizer.build(model.trainable_variables)
    variables = {"model": model.variables, "optimizer": optimizer.variables}
    return Checkpoints(folder, variables, saving=CheckpointOptions(**saving))


def randomise(made: Checkpoints, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    for variable in made._variables.values():
        variable.assign(rng.integers(0, 1 << 20, variable.shape) / 7)
    return state(made)


def state(made: Checkpoints) -> dict[str, np.ndarray]:
    return {name: v.numpy() for name, v in made._variables.items()}


def saved_at(made: Checkpoints, *steps: int) -> list[Path]:
    for step in steps:
        made.progress.step = step
        made.save()
    return sorted(made._folder.iterdir())


def test_everything_is_restored_to_the_bit(tmp_path: Path) -> None:
    made = checkpoints(tmp_path)
    before = randomise(made)
    names = " ".join(before)
    for part in ("kernel", "seed_generator_state", "velocity", "average", "iteration"):
        assert part in names
    made.progress.history.append(ROW)
    made.progress.step, made.progress.sums = 5, [0.1, 1e-300, 3.0]
    made.save()
    again = checkpoints(tmp_path)
    assert again.restore()
    for name, value in state(again).items():
        np.testing.assert_array_equal(value, before[name])
    assert again.progress == made.progress
    assert again.progress.history == [ROW] and again.progress.epoch == 1


def test_without_a_checkpoint_nothing_is_restored(tmp_path: Path) -> None:
    made = checkpoints(tmp_path / "none")
    before = randomise(made)
    assert not made.restore()
    assert all(np.array_equal(v, before[n]) for n, v in state(made).items())


def test_the_newest_stay(tmp_path: Path) -> None:
    made = checkpoints(tmp_path, keep=2)
    left = saved_at(made, 1, 2, 3, 10)
    assert [path.name for path in left] == ["000000-00000003", "000000-00000010"]
    made.progress.end_epoch(ROW)
    made.save()
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "000000-00000010",
        "000001-00000000",
    ]


def test_a_position_is_saved_once(tmp_path: Path) -> None:
    made = checkpoints(tmp_path)
    (place,) = saved_at(made, 1, 1)
    assert (
        hashlib.sha256((place / "state.npz").read_bytes()).hexdigest()
        in (place / "SHA256SUMS").read_text()
    )


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["state.npz", "progress.json", "SHA256SUMS"])
@pytest.mark.parametrize("damage", [cut, flip_a_bit, Path.unlink])
def test_a_damaged_one_falls_back_to_the_one_before(
    name: str,
    damage: Callable[[Path], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = checkpoints(tmp_path)
    before = randomise(made)
    saved_at(made, 1)
    randomise(made, seed=1)
    *_, newest = saved_at(made, 2)
    damage(newest / name)
    again = checkpoints(tmp_path)
    assert again.restore() and again.progress.step == 1
    assert all(np.array_equal(v, before[n]) for n, v in state(again).items())
    said = capsys.readouterr().err
    assert said.startswith(f"warning: checkpoint {newest} is damaged (")
    assert name in said or "SHA256SUMS" in said or damage is flip_a_bit
    assert said.count("\n") == 1
    assert not newest.exists(), "its position will be saved again"


def test_a_run_of_damaged_checkpoints_is_not_begun_anew(tmp_path: Path) -> None:
    made = checkpoints(tmp_path)
    places = saved_at(made, 1, 2)
    for place in places:
        cut(place / "state.npz")
    with pytest.raises(UsageError, match=r"an intact checkpoint .* none among the 2"):
        checkpoints(tmp_path).restore()
    assert sorted(tmp_path.iterdir()) == places, "nothing is removed"


def test_another_networks_state_is_refused(tmp_path: Path) -> None:
    saved_at(checkpoints(tmp_path), 1)
    with pytest.raises(UsageError, match="must hold the state of this model"):
        checkpoints(tmp_path, width=5).restore()


@pytest.mark.parametrize("whole", ["000000-00000001", None])
def test_what_a_kill_leaves_is_cleared_away(tmp_path: Path, whole: str | None) -> None:
    made = checkpoints(tmp_path)
    if whole:
        saved_at(made, 1)
    draft = tmp_path / "draft-000000-00000002"
    draft.mkdir()
    (draft / "state.npz").write_bytes(b"half")
    assert checkpoints(tmp_path).restore() == bool(whole)
    assert [path.name for path in tmp_path.iterdir()] == [whole] * bool(whole)


def test_progress_is_a_function_of_its_text() -> None:
    progress = Progress([ROW, ROW | {"val_top1": 0.5}], 3, [1e-300, 2.5], 0.1)
    assert Progress.from_json(progress.to_json()) == progress
    assert (progress.epoch, progress.best_epoch) == (2, 1)
    progress.end_epoch(ROW | {"val_top1": 0.5})
    assert progress.best_epoch == 1, "the first of equals"
    assert (progress.step, progress.sums, progress.seconds) == (0, [], 0.0)
    assert Progress().best_epoch is None


@pytest.mark.parametrize(
    ("saving", "message"),
    [
        ({"keep": 0}, "keep must be at least 1, got 0"),
        ({"checkpoint_steps": 0}, "checkpoint_steps must be at least 1, got 0"),
        ({"checkpoint_minutes": -1.0}, "checkpoint_minutes must be at least 0"),
        ({"checkpoint_minutes": float("nan")}, "checkpoint_minutes .* and finite"),
    ],
)
def test_impossible_saving_is_refused(saving: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(CheckpointOptions(), **saving)


def test_cadence(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    by_steps = CheckpointTimer(
        CheckpointOptions(checkpoint_minutes=0, checkpoint_steps=2)
    )
    assert [by_steps.count_step() for _ in range(2)] == [False, True]
    by_steps.restart()
    assert [by_steps.count_step() for _ in range(2)] == [False, True]
    by_time = CheckpointTimer(CheckpointOptions(checkpoint_minutes=10))
    never = CheckpointTimer(CheckpointOptions(checkpoint_minutes=0))
    now = 599.0
    assert not by_time.count_step()
    now = 600.0
    assert by_time.count_step() and not never.count_step()
    by_time.restart()
    assert not by_time.count_step()


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    with (
        run.locked(),
        pytest.raises(UsageError, match=r"one process at a time, got .* process \d+"),
        run.locked(),
    ):
        pass
    with run.locked():
        pass
