"""Runs of version 0.1, from before modules moved: they load, resume, evaluate."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from export import tflite
from export.verify import verify
from keras_resnet import load_model
from training.evaluate import evaluate_run
from training.experiment.train import train
from training.runs import Run

OLD = Path(__file__).parent / "golden" / "run_0_1"
# The run was made on one kind of CPU; on another, the same sums round differently.
ROUNDING = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture
def old(tmp_path: Path) -> dict[str, Run]:
    shutil.copytree(OLD, tmp_path / "old")
    return {
        name: Run.open(tmp_path / "old" / name) for name in ("interrupted", "whole")
    }


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_weights(old: dict[str, Run]) -> None:
    run = old["interrupted"]
    train(run.recipe, run)
    found, expected = (load_model(r.model).get_weights() for r in old.values())
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, **ROUNDING)
    assert run.evaluated["top1"] == old["whole"].evaluated["top1"]
    losses = [[row["loss"] for row in r.epochs] for r in old.values()]
    np.testing.assert_allclose(*losses, **ROUNDING)


@pytest.mark.slow
def test_a_complete_run_is_evaluated_and_exported(
    old: dict[str, Run], tmp_path: Path
) -> None:
    run = old["whole"]
    before = run.evaluated
    after = evaluate_run(run)
    assert after["top1"] == before["top1"]
    assert after["loss"] == pytest.approx(before["loss"], rel=1e-5)
    tflite.export(run, tmp_path / "model.tflite", "none")
    assert verify(tmp_path / "model.tflite", run, images=8, runtimes=("litert",))[
        "same"
    ]
