"""A whole run: what it leaves, and that an interruption changes nothing."""

import csv
import io
import os
import random
import signal
from dataclasses import replace
from math import cos, pi
from pathlib import Path
from typing import Any

import kill_resume
import numpy as np
import pytest
import tensorflow as tf
from in_process import start_here

from export import saved_model
from export.verify import verify
from keras_resnet import load_model
from keras_resnet.errors import Stopped, UsageError
from training.distributed import devices
from training.distributed.backend import backend
from training.distributed.hardware import Hardware
from training.engine.progress import TIMED
from training.engine.step import TrainingStep
from training.evaluate import evaluate_run
from training.evaluation.metrics import Evaluator
from training.evaluation.predictions import Predictions
from training.experiment.models import load_trained_model
from training.experiment.train import train
from training.recipes.recipe import Recipe
from training.runs.run import Run


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
    assert {"python", "tensorflow", "keras"} <= set(config["versions"])
    assert config["environment"]["system"] and config["environment"]["memory_gib"] > 0
    assert Recipe.from_dict(config["recipe"]) == run.recipe
    with run.history.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(run.recipe.epochs))
    assert float(rows[-1]["val_top1"]) == pytest.approx(run.evaluated["top1"])


def test_history_has_the_rate_of_each_epoch_s_last_step(run: Run) -> None:
    # By hand: 2 steps an epoch, a cosine over 4 steps from 0.05, half of it at the
    # second of the 2 steps of the warm-up.
    rates = [0.5 * 0.025 * (1 + cos(pi / 4)), 0.025 * (1 + cos(3 * pi / 4))]
    found = [epoch["learning_rate"] for epoch in run.epochs]
    assert found == pytest.approx(rates, rel=1e-5)


@pytest.mark.slow
def test_evaluating_again_gives_the_same_number(run: Run) -> None:
    before = run.evaluated
    assert evaluate_run(run).items() >= before.items()
    assert evaluate_run(run, "train")["examples"] == 60
    assert run.evaluated == before, "another split must not replace the test figures"


@pytest.mark.slow
def test_interruptions_change_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = Run(tmp_path / "run")
    for interrupt, said, status in (
        (without_memory, r"batch_size 32 .* --accumulation 2,", 2),
        (after_a_step, "stopped by SIGINT, saved at step 1 of epoch 1", 130),
        (in_validation, "stopped by SIGTERM, saved at step 0 of epoch 2", 143),
        # The checkpoint before is the last good one.
        (with_infinity, "got nan at step 2 of epoch 2", 1),
    ):
        interrupt(monkeypatch)
        with pytest.raises((Stopped, UsageError), match=said) as stopped:
            train(run.recipe, interrupted)
        assert stopped.value.status == status
        assert not interrupted.complete
        monkeypatch.undo()
    # A run keeps its precision, whatever "auto" would choose by now.
    eager = Hardware("cpu", "another CPU", bfloat16=True, float16=False)
    monkeypatch.setattr(backend, "detect_hardware", lambda: eager)
    monkeypatch.setattr(devices, "BFLOAT16_PAYS_FROM_MACS", 0)
    train(run.recipe, interrupted)
    ours, theirs = load_model(interrupted.model), load_model(run.model)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert interrupted.evaluated == run.evaluated
    untimed = [without_times(r.history) for r in (interrupted, run)]
    assert untimed[0] == untimed[1]


def without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow really asks for four petabytes here."""
    start = TrainingStep.start

    def starting(self: TrainingStep, *batch: object) -> None:
        tf.random.uniform([2**50])
        start(self, *batch)

    monkeypatch.setattr(TrainingStep, "start", starting)


def after_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(monkeypatch, steps=1, number=signal.SIGINT)


def in_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = Evaluator.__call__

    def measuring(self: Evaluator, *batches: Any) -> Predictions:
        os.kill(os.getpid(), signal.SIGTERM)
        return measure(self, *batches)

    monkeypatch.setattr(Evaluator, "__call__", measuring)


def with_infinity(monkeypatch: pytest.MonkeyPatch) -> None:
    start, steps = TrainingStep.start, iter(range(99))

    def poisoned(self: TrainingStep, *batch: object) -> None:
        if next(steps) == 1:
            self.model.trainable_variables[0].assign_add(float("inf"))
        start(self, *batch)

    monkeypatch.setattr(TrainingStep, "start", poisoned)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_from_training_to_export(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    recipe = replace(run.recipe, overrides=("depths=(1,)",), precision=precision)
    half = Run(tmp_path / "run")
    if precision == "float16":  # the scale of the loss is restored too
        stop_after(monkeypatch, steps=3, number=signal.SIGTERM)
        with pytest.raises(Stopped):
            train(recipe, half)
        monkeypatch.undo()
    train(recipe, half)
    assert load_model(half.model).get_layer("stem_conv").compute_dtype == precision
    exact = load_trained_model(half).get_layer("stem_conv")
    assert exact.compute_dtype == "float32"
    assert evaluate_run(half).items() >= half.evaluated.items()
    if precision == "float16":  # what is exported is float32 in both cases
        assert verify(saved_model.export(half, tmp_path / "out"), half)["same"]


def stop_after(
    monkeypatch: pytest.MonkeyPatch, *, steps: int, number: signal.Signals
) -> None:
    """Sends this process a signal after some training steps."""
    start = TrainingStep.start
    left = iter(range(steps - 1, -1, -1))

    def stepping(self: TrainingStep, *batch: object) -> None:
        start(self, *batch)
        if next(left) == 0:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(TrainingStep, "start", stepping)


def without_times(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in TIMED} for row in rows]


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    """Inside a save and twice in a row; more kills by hand: tests/kill_resume.py."""
    whole, killed, rng = tmp_path / "whole", tmp_path / "killed", random.Random(0)
    finish_here(whole)
    for _ in range(2):
        kill_resume.kill(killed, rng, in_save=True)
    assert not Run(killed).complete
    finish_here(killed, "--resume")
    found, expected = map(kill_resume.contents, (killed, whole))
    assert kill_resume.differences(found, expected) == []


def finish_here(out: Path, *more: str) -> None:
    line = ["", "-m", "training.fit", *kill_resume.RECIPE, "--out", str(out), *more]
    log = io.BytesIO()
    assert start_here(line, output=log).wait() == 0, log.getvalue()


@pytest.mark.slow
def test_a_pixel_that_is_no_number_stops_the_run_at_its_step(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """oneDNN's ReLU would make zeros of it, and the loss stay finite."""
    start, steps = TrainingStep.start, iter(range(99))

    def poisoned(self: TrainingStep, images: Any, *others: Any) -> None:
        images = np.array(images, np.float32)
        if next(steps) == 1:
            images[0, 0, 0, 0] = np.nan
        start(self, images, *others)

    monkeypatch.setattr(TrainingStep, "start", poisoned)
    recipe = replace(run.recipe, overrides=("depths=(1,)",))
    with pytest.raises(Stopped, match="must be finite, got nan at step 2 of epoch 1;"):
        train(recipe, Run(tmp_path / "run"))
