"""The loop reads the device's results now and then, and misses nothing by it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keras_resnet import load_model
from keras_resnet.errors import Stopped
from training.engine import pace
from training.engine.pace import Pace
from training.engine.saving import CheckpointOptions
from training.engine.step import TrainingStep
from training.engine.tensorflow_update import TensorFlowUpdate
from training.experiment.train import train
from training.runs.run import Run


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "steps"), [(1.0, 1), (0.3, 1), (0.1, 2), (0.0625, 4), (0.001, 16)]
)
def test_results_are_read_four_times_a_second_or_every_16_steps(
    seconds: float, steps: int
) -> None:
    clock = Clock()
    counted = Pace(clock)
    assert counted.count_step()  # the first step of all
    counted.restart(16)
    for _ in range(16):
        clock.now += seconds
        due = counted.count_step()
    assert due and counted.proposed() == steps
    counted.restart(steps)
    assert [counted.count_step() for _ in range(steps)] == [
        *[False] * (steps - 1),
        True,
    ]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps each read was of, if steps took no time at all."""
    found: list[int] = []
    read = TensorFlowUpdate.read

    def counting(self: TensorFlowUpdate, results: list[object]) -> np.ndarray:
        found.append(len(results))
        return read(self, results)

    monkeypatch.setattr(TensorFlowUpdate, "read", counting)
    monkeypatch.setattr(pace, "SECONDS", 1e9)
    return found


@pytest.mark.slow
def test_an_epoch_waits_for_the_device_a_few_times(
    run: Run, reads: list[int], tmp_path: Path
) -> None:
    """60 images in batches of one: 60 steps in each of 2 epochs."""
    recipe = replace(run.recipe, batch_size=1)
    seldom, always = Run(tmp_path / "seldom"), Run(tmp_path / "always")
    train(recipe, seldom, CheckpointOptions(checkpoint_steps=40))
    # After the first step, every 16 steps all but the newest, before a checkpoint and
    # at the end all.
    assert reads == 2 * [1, 15, 16, 8, 8, 12]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pace, "SECONDS", 0.0)
        train(recipe, always)
    assert len(reads) == 12 + 120
    for mine, other in zip(
        load_model(seldom.model).get_weights(),
        load_model(always.model).get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, other)
    assert seldom.evaluated == always.evaluated


@pytest.mark.slow
@pytest.mark.parametrize("bad", [1, 2, 20, 60])
def test_the_first_step_that_is_not_finite_is_named(
    run: Run,
    reads: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bad: int,
) -> None:
    doomed = Run(tmp_path / "run")
    start, steps = TrainingStep.start, iter(range(1, 99))

    def poisoned(self: TrainingStep, *batch: object) -> None:
        if next(steps) == bad:
            self.model.trainable_variables[0].assign_add(float("inf"))
        start(self, *batch)

    monkeypatch.setattr(TrainingStep, "start", poisoned)
    saving = CheckpointOptions(checkpoint_steps=1 if bad == 20 else 25)
    with pytest.raises(Stopped, match=f"got nan at step {bad} of epoch 1"):
        train(replace(run.recipe, batch_size=1), doomed, saving)
    for checkpoint in doomed.checkpoints.glob("0*"):
        with np.load(checkpoint / "state.npz") as state:
            assert all(np.isfinite(state[name]).all() for name in state.files)
