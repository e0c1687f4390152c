"""A whole run: what it leaves, and that an interruption changes nothing."""

import csv
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from keras_resnet import load_model
from keras_resnet.command import Stopped
from training import fit, loop
from training.evaluate import evaluate_run
from training.recipes import Recipe
from training.runs import Run


def test_a_run_leaves_what_the_interface_promises(run: Run) -> None:
    left = {path.name for path in run.path.iterdir()}
    expected = {"config.json", "history.csv", "evaluation.json", "model.keras"}
    assert left >= expected | {"best.keras", "checkpoints", "tensorboard"}
    assert not any(name.startswith(".") for name in left)
    assert set(run.evaluated) == {"split", "examples", "top1", "top5", "loss"}
    assert run.evaluated["examples"] == run.config["dataset"]["examples"]["test"]
    config = run.config
    assert config["preprocessing"]["size"] == [12, 8]
    assert config["device"]["precision_reason"] and config["device"]["xla_reason"]
    assert Recipe.from_dict(config["recipe"]) == run.recipe
    with run.history.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(run.recipe.epochs))
    assert float(rows[-1]["val_top1"]) == pytest.approx(run.evaluated["top1"])


def test_evaluating_again_gives_the_same_number(run: Run) -> None:
    before = run.evaluated
    assert evaluate_run(run) == before
    assert evaluate_run(run, "train")["examples"] == 60
    assert run.evaluated == before, "another split must not replace the test figures"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_resumed_equals_uninterrupted(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    interrupted = Run(tmp_path / "run")
    stop_after(monkeypatch, steps=3, number=number)  # in the middle of epoch 2
    with pytest.raises(Stopped, match="saved at step 1 of epoch 2") as stopped:
        fit.train(run.recipe, interrupted)
    assert stopped.value.status == 128 + number
    assert not interrupted.complete
    monkeypatch.undo()
    fit.train(run.recipe, interrupted)
    ours, theirs = load_model(interrupted.model), load_model(run.model)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert interrupted.evaluated == run.evaluated
    untimed = [without_times(r.history) for r in (interrupted, run)]
    assert untimed[0] == untimed[1]


def test_a_loss_that_is_no_number_stops_the_run(run: Run, tmp_path: Path) -> None:
    doomed = Run(tmp_path / "run")
    recipe = Recipe.from_dict(run.recipe.to_dict() | {"learning_rate": 1e30})
    with pytest.raises(Stopped, match=r"got (nan|inf) at step \d of epoch \d") as stop:
        fit.train(recipe, doomed)
    assert stop.value.status == 1
    assert not doomed.complete


def stop_after(
    monkeypatch: pytest.MonkeyPatch, *, steps: int, number: signal.Signals
) -> None:
    """Sends this process a signal after some training steps."""
    step = loop.Trainer.step
    left = iter(range(steps - 1, -1, -1))

    def stepping(self: loop.Trainer, *batch: object) -> float:
        loss = step(self, *batch)
        if next(left) == 0:
            os.kill(os.getpid(), number)
        return loss

    monkeypatch.setattr(loop.Trainer, "step", stepping)


def without_times(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    timed = ("seconds", "images_per_second")
    return [{k: v for k, v in row.items() if k not in timed} for row in rows]
