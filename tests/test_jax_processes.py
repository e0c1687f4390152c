"""Several processes train one model with JAX, and none waits for ever."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from launched import LONG, curves, start, wait_for_checkpoint, weights, workers_of

from keras_resnet.errors import UsageError
from training.distributed import jax_processes
from training.distributed.cluster import config
from training.distributed.launch import free_ports
from training.runs.run import Run

LOAD = "from keras_resnet import command; command.load_backend('tensorflow', 'jax'); "
LOAD += "from training.distributed import jax_processes as processes; "


@pytest.mark.slow
def test_two_processes_train_as_one_with_two_devices(tmp_path: Path) -> None:
    """To the last bit, although one of them was killed and they started again."""
    one, two = Run(tmp_path / "one"), Run(tmp_path / "two")
    short = [*LONG, "--epochs", "3"]
    local = ["--workers", "2", "--max-restarts", "1"]
    process = start(two.path, *short, *local, KERAS_BACKEND="jax")
    wait_for_checkpoint(two.path)
    os.kill(workers_of(process.pid)[1], signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=400)
    assert process.returncode == 0, stderr
    assert "worker 1 of 2 died of SIGKILL; all workers restart" in stderr
    assert stderr.count("\n") == 1 and stdout.count("resuming at epoch") == 1
    assert "Gloo" not in stdout
    flags = "--xla_force_host_platform_device_count=2"
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
    done = ended(f"processes.START = 1; processes.connect({place})")
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


@pytest.mark.slow
@pytest.mark.parametrize("cause", ["None", "ValueError('Gloo AllGather failed')"])
def test_a_worker_that_fails_does_not_wait_for_the_others(cause: str) -> None:
    lost = cause != "None"
    done = ended(
        # JAX waits likewise, until the others end.
        "import atexit, time; atexit.register(time.sleep, 3600)\n"
        "import jax; jax.distributed.is_initialized = lambda: True\n"
        f"processes.END = {3600 if lost else 0.1}\n"
        "with processes.ending_soon():\n"
        f"    try: raise {cause if lost else 'KeyError'}\n"
        "    except Exception as error:\n"
        f"        assert processes.is_lost(error) == {lost}\n"
        "        raise SystemExit(75)"
    )
    assert (done.returncode, done.stderr) == (75, "")


def ended(code: str) -> "subprocess.CompletedProcess[str]":
    """Runs code on JAX, which must end by itself."""
    return subprocess.run(
        [sys.executable, "-c", LOAD + code],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
