"""Training on JAX is training on TensorFlow, on one or several devices or processes."""

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
from launched import LONG, curves, start, wait_for_checkpoint, workers_of

from export import saved_model
from export.verify import verify
from keras_resnet import load_model
from keras_resnet.errors import Stopped, UsageError
from training.distributed import jax_processes
from training.distributed.cluster import config
from training.distributed.launch import LOST, free_ports
from training.engine.step import TrainingStep
from training.experiment.train import train
from training.recipes.recipe import Recipe
from training.runs.run import Run

SCRIPT = Path(__file__).with_name("engine_losses.py")
RUNS = Path(__file__).with_name("jax_runs.py")
QUICK = "--xla_backend_optimization_level=0"  # compiles sooner

# 50 images in batches of 16: the last batch of an epoch has two, for all devices.
BASE: dict[str, Any] = {
    "model": "resnet20_cifar",
    "overrides": ["depths=(1,1)"],
    "dataset": "synthetic:12x8x3:3:50",
    "epochs": 4,
    "batch_size": 16,
    "learning_rate": 0.02,
    "warmup_epochs": 0.0,
    "augmentation": "pad_crop",
}
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
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


def on_jax(recipes: dict[str, Any], devices: int = 1) -> dict[str, Any]:
    flags = f"--xla_force_host_platform_device_count={devices}"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(recipes)],
        env={**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The recipes, all from the same weights, since backends draw different ones."""
    from keras_resnet import create_model

    keras.utils.set_random_seed(0)
    model = create_model(
        "resnet20_cifar", input_shape=(12, 8, 3), classes=3, depths=(1, 1)
    )
    start = tmp_path_factory.mktemp("start") / "start.weights.h5"
    model.save_weights(start)
    return {
        name: {**BASE, "weights": str(start), **fields}
        for name, fields in RECIPES.items()
    }


@pytest.fixture(scope="module")
def theirs(recipes: dict[str, Any]) -> dict[str, Any]:
    """The recipes' results on one device of JAX."""
    return on_jax(recipes)


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
@pytest.mark.parametrize("devices", [2, 4])
def test_several_devices_train_as_one(
    recipes: dict[str, Any], theirs: dict[str, Any], devices: int
) -> None:
    name = {2: "average", 4: "plain"}[devices]
    one, several = theirs[name], on_jax({name: recipes[name]}, devices)[name]
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


@pytest.mark.slow
def test_two_processes_train_as_one_with_two_devices(tmp_path: Path) -> None:
    """To the last bit, although one of them was killed and they started again."""
    one, two = Run(tmp_path / "one"), Run(tmp_path / "two")
    short = [*LONG, "--overrides", "depths=(1,)", "--epochs", "3"]
    local = ["--workers", "2", "--max-restarts", "1"]
    process = start(two.path, *short, *local, KERAS_BACKEND="jax", XLA_FLAGS=QUICK)
    wait_for_checkpoint(two.path)
    os.kill(workers_of(process.pid)[1], signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=400)
    assert process.returncode == 0, stderr
    assert "worker 1 of 2 died of SIGKILL; all workers restart" in stderr
    assert stderr.count("\n") == 1 and stdout.count("resuming at epoch") == 1
    assert "Gloo" not in stdout
    flags = f"{QUICK} --xla_force_host_platform_device_count=2"
    process = start(one.path, *short, KERAS_BACKEND="jax", XLA_FLAGS=flags)
    _, stderr = process.communicate(timeout=400)
    assert process.returncode == 0, stderr
    assert one.config["device"]["replicas"] == two.config["device"]["replicas"] == 2
    for mine, other in zip(weights(two), weights(one), strict=True):
        np.testing.assert_array_equal(mine, other)
    np.testing.assert_allclose(curves(two.path), curves(one.path), rtol=0, atol=1e-6)
    assert two.evaluated == {**one.evaluated, "loss": two.evaluated["loss"]}


@pytest.mark.slow
def test_a_worker_does_not_wait_for_ever_for_the_others() -> None:
    (port,) = free_ports(1)
    place = {"TF_CONFIG": json.dumps(config([f"127.0.0.1:{port}", "b:1"], 0))}
    code = (
        "from keras_resnet import command; command.load_backend('tensorflow', 'jax'); "
        "from training.distributed import jax_processes as processes; "
        f"processes.START = 1; processes.connect({place})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"error: all 2 workers must start within 1 seconds and reach 127.0.0.1:{port}, "
        "got fewer; start all of them again\n"
    )


@pytest.mark.parametrize("name", ["JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES"])
def test_only_one_description_of_the_workers_is_read(name: str) -> None:
    place = json.dumps(config(["a:1", "b:1"], 0))
    with pytest.raises(UsageError, match=rf"^the workers must be .*, got {name}='2'"):
        jax_processes.connect({"TF_CONFIG": place, name: "2"})


@pytest.mark.parametrize(
    ("error", "registered"),
    [
        (UsageError("no"), (jax_processes._exit_after, jax_processes.END, 2)),
        (ValueError("UNKNOWN: Gloo AllGather failed"), (os._exit, LOST)),
    ],
)
def test_a_worker_that_fails_does_not_wait_for_the_others(
    error: Exception, registered: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(jax_processes.atexit, "register", lambda *x: found.append(x))
    monkeypatch.setattr("jax.distributed.is_initialized", lambda: True)
    with pytest.raises((UsageError, SystemExit)), jax_processes.ending_soon():
        try:
            raise error
        except ValueError:
            if not jax_processes.is_lost(error):
                raise
            sys.exit(LOST)
    assert found == [registered]


def weights(run: Run) -> list[np.ndarray]:
    return list(load_model(run.model).get_weights())
