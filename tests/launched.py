"""Runs of several workers, started from the command line."""

import csv
import subprocess
import sys
import time
from pathlib import Path

from training.runs.run import Run

TINY = [
    *("--model", "resnet20_cifar", "--overrides", "depths=(1,1,1)"),
    *("--dataset", "synthetic:12x8x3:3:49", "--epochs", "2", "--batch-size", "12"),
    *("--learning-rate", "0.02"),
]
LONG = [*TINY, "--epochs", "12", "--checkpoint-steps", "3"]


def start(out: Path, *arguments: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "training.fit", "--out", str(out), *arguments]
    return subprocess.Popen(
        line, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for_checkpoint(out: Path, seconds: float = 200) -> None:
    until = time.monotonic() + seconds
    while not any((out / "checkpoints").glob("0*")):
        assert time.monotonic() < until, "nothing was saved"
        time.sleep(0.1)


def curves(out: Path) -> list[list[float]]:
    with Run(out).history.open(newline="") as file:
        names = ("loss", "top1", "val_loss", "val_top1", "learning_rate")
        return [[float(row[name]) for name in names] for row in csv.DictReader(file)]
