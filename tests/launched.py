"""Runs of several workers, started from the command line."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from exported import SharedFolders

from keras_resnet import load_model
from training.runs.run import Run

LONG = [
    *("--model", "resnet20_cifar", "--overrides", "depths=(1,)"),
    *("--dataset", "synthetic:12x8x3:3:49", "--epochs", "12", "--batch-size", "12"),
    *("--learning-rate", "0.02", "--checkpoint-steps", "3"),
]


def start(out: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "training.fit", "--out", str(out), *arguments]
    return subprocess.Popen(
        line,
        env=os.environ | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_checkpoint(out: Path, seconds: float = 200) -> None:
    """Waits for a checkpoint that is not there yet."""
    saved, until = _saved(out), time.monotonic() + seconds
    while _saved(out) <= saved:
        assert time.monotonic() < until, "nothing was saved"
        time.sleep(0.02)


def _saved(out: Path) -> set[str]:
    return {path.name for path in (out / "checkpoints").glob("0*")}


def two_local_workers(shared: SharedFolders) -> Path:
    """A run of two workers that were stopped, resumed, killed and started again."""
    return shared.get("two local workers", _train_with_two_local_workers)


def _train_with_two_local_workers(out: Path) -> None:
    process = start(out, *LONG, "--workers", "2")
    wait_for_checkpoint(out)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=100)
    assert process.returncode == 143
    assert stderr.startswith("error: stopped by SIGTERM, saved at step")
    assert stderr.count("\n") == 1
    again = ["--resume", "--workers", "2", "--max-restarts", "1"]
    process = start(out, *LONG, *again)
    wait_for_checkpoint(out)
    os.kill(workers_of(process.pid)[1], signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=400)
    assert process.returncode == 0, stderr
    assert "all workers restart from the last checkpoint (0 restarts left)" in stderr
    assert stderr.count("\n") == 1
    assert stdout.count("resuming at epoch") == 2 and Run(out).complete


def workers_of(parent: int) -> list[int]:
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(number) for number in listed.split()]


def weights(run: Run) -> list[np.ndarray]:
    return list(load_model(run.model).get_weights())


def curves(out: Path) -> list[list[float]]:
    with Run(out).history.open(newline="") as file:
        names = ("loss", "top1", "val_loss", "val_top1", "learning_rate")
        return [[float(row[name]) for name in names] for row in csv.DictReader(file)]
