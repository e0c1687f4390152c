"""Training on JAX is training on TensorFlow, on one device and on several."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from engine_losses import first_losses
from launched import weights

from export import saved_model
from export.verify import verify
from keras_resnet.errors import Stopped
from training.engine.step import TrainingStep
from training.experiment.train import train
from training.recipes.recipe import Recipe
from training.runs.run import Run

SCRIPT = Path(__file__).with_name("engine_losses.py")
RUNS = Path(__file__).with_name("jax_runs.py")

# 50 images in batches of 16: the last batch of an epoch has two, for all devices.
BASE: dict[str, Any] = {
    "model": "resnet20_cifar",
    "overrides": ["depths=(1,)"],
    "dataset": "synthetic:12x8x3:3:50",
    "epochs": 4,
    "batch_size": 16,
    "learning_rate": 0.02,
    "warmup_epochs": 0.0,
    "augmentation": "pad_crop",
}
RECIPES: dict[str, dict[str, Any]] = {
    "parts": {
        "accumulation": 3,
        "clip_norm": 0.5,
        "schedule": "cosine",
        "freeze": ["stem"],
        "head_learning_rate": 0.1,
    },
    "average": {
        "ema": 0.9,
        "nesterov": True,
        "mixup": 0.2,
        "cutmix": 1.0,
        "label_smoothing": 0.1,
    },
    # A larger rate would enlarge rounding: both divide a step by the gradient's size.
    "adam": {"optimizer": "adamw", "weight_decay": 0.01, "learning_rate": 1e-4},
    "binary": {
        "loss": "bce",
        "optimizer": "lamb",
        "weight_decay": 0.01,
        "learning_rate": 1e-3,
    },
}
SEVERAL = {2: "average", 4: "adam"}  # numbers of devices that train recipes too


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The recipes, all from the same weights, since backends draw different ones."""
    from keras_resnet import create_model

    keras.utils.set_random_seed(0)
    model = create_model(
        "resnet20_cifar", input_shape=(12, 8, 3), classes=3, depths=(1,)
    )
    start = tmp_path_factory.mktemp("start") / "start.weights.h5"
    model.save_weights(start)
    return {
        name: {**BASE, "weights": str(start), **fields}
        for name, fields in RECIPES.items()
    }


@pytest.fixture(scope="module")
def theirs(recipes: dict[str, Any]) -> dict[str, Any]:
    """The recipes' results on one device of JAX, and of some on several of them."""
    cases = {name: (1, fields) for name, fields in recipes.items()}
    cases |= {f"{name} on {n}": (n, recipes[name]) for n, name in SEVERAL.items()}
    flags = "--xla_force_host_platform_device_count=4 " + os.environ["XLA_FLAGS"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(cases)],
        env={**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_losses_are_those_of_tensorflow(
    recipes: dict[str, Any], theirs: dict[str, Any]
) -> None:
    for name, fields in recipes.items():
        ours = first_losses(fields)
        found = theirs[name]
        np.testing.assert_allclose(
            found["losses"], ours["losses"], rtol=0, atol=1e-5, err_msg=name
        )
        assert found["loss"] == pytest.approx(ours["loss"], abs=1e-6), name
        assert found["trained_on"] == ours["trained_on"] == 132, name


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "name"), SEVERAL.items())
def test_several_devices_train_as_one(
    theirs: dict[str, Any], devices: int, name: str
) -> None:
    one, several = theirs[name], theirs[f"{name} on {devices}"]
    assert (one["devices"], several["devices"]) == (1, devices)
    np.testing.assert_allclose(several["losses"], one["losses"], rtol=0, atol=1e-5)
    assert several["loss"] == pytest.approx(one["loss"], abs=1e-6)
    assert several["trained_on"] == one["trained_on"] == 132


@pytest.mark.slow
def test_runs_stop_resume_move_and_are_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {**BASE, "epochs": 2, "ema": 0.9}
    recipe = Recipe.from_dict(fields)
    whole, begun = Run(tmp_path / "tensorflow"), Run(tmp_path / "begun")
    train(recipe, whole)
    start, left = TrainingStep.start, iter([5, 4, 3, 2, 1, 0])

    def stopping(self: TrainingStep, *batch: object) -> None:
        start(self, *batch)
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(TrainingStep, "start", stopping)
    with pytest.raises(Stopped):
        train(recipe, begun)
    monkeypatch.undo()
    done = subprocess.run(
        [sys.executable, str(RUNS), str(tmp_path), json.dumps(fields)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "stopped by SIGTERM, saved at step 3 of epoch 1" in done.stdout
    assert "warning: resumed on jax, begun on tensorflow" in done.stderr
    same, resumed = Run(tmp_path / "whole"), Run(tmp_path / "resumed")
    for mine, other in zip(weights(resumed), weights(same), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert resumed.evaluated == same.evaluated
    for mine, other in zip(weights(begun), weights(whole), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-5)
    assert begun.evaluated["loss"] == pytest.approx(whole.evaluated["loss"], abs=1e-5)
    assert same.config["device"]["backend"] == "jax"
    assert "jax" in same.config["versions"]
    assert verify(saved_model.export(same, tmp_path / "out"), same)["same"]
