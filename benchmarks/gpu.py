"""Measures training on one GPU in one command, with JAX and against torchvision.

    python benchmarks/gpu.py --out gpu --fashion-mnist FOLDER
    python benchmarks/gpu.py --out gpu --rehearse --minutes 30

The measurements run in order, the most valuable first, each in its own process with its
own limit. What no longer fits before the end is skipped. ``results.json`` and
``results.md`` are written again after each measurement, and SIGTERM ends the program
with what it has. ``--rehearse`` runs everything on a CPU, too, with tiny sizes.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpu_tables import markdown
from machine import describe
from rows import Outcome, Row, run_rows

from keras_resnet import command
from keras_resnet.errors import UsageError
from training.runs.run import Run
from training.storage.writing import write_atomically, write_json

LIMIT, SHORT = 150.0, 120.0  # seconds of a measurement, and of fast_cifar
SLOWER = 3  # times as long in a rehearsal, which compiles on few cores


@dataclass(frozen=True)
class Options:
    """Measure training on one GPU: images a second, memory and an accuracy."""

    out: Path
    """Folder of results.json, results.md and the outputs of the commands."""
    minutes: float = 12.0
    """Time for everything."""
    fashion_mnist: Path | None = None
    """Folder with the idx files of Fashion-MNIST; None: skip its measurement."""
    rehearse: bool = False
    """Use tiny sizes, on any device."""


def make_rows(options: Options, work: Path) -> list[Row]:
    """Returns the measurements, the most valuable first; ``work`` takes the runs."""
    tiny = options.rehearse
    steps = partial(_steps, tiny)
    # 50 steps an epoch, or 4.
    size = "64x64x3:10:16 --batch-size 4" if tiny else "224x224x3:1000:12800"
    whole = f"--model resnet50_v1_5 --epochs 4 --dataset synthetic:{size}"
    whole += "" if tiny else " --batch-size 256"
    fast = "--recipe fast_cifar" + " --epochs 4" * tiny
    folder = options.fashion_mnist
    skip = "" if folder else "--fashion-mnist is not given"
    fast += f" --dataset idx:{folder and folder.resolve()}"
    return [
        steps("resnet50", "bfloat16", 256),
        # The second half of fast_cifar has the full size; its first epoch compiles.
        _fit("fast_cifar", fast, work, 3 if tiny else 11, skip),
        _fit("resnet50", whole, work, 1),
        steps("resnet20_cifar resnet110_cifar resnet20_fashion", "bfloat16", 128),
        steps("resnet50", "float32", 256),
        steps("densenet121", "bfloat16", 128),
        steps("resnext50_32x4d", "bfloat16", 128),
        steps("resnet20_cifar resnet110_cifar", "float32", 128),
        steps("densenet121", "float32", 128),
        steps("resnext50_32x4d", "float32", 128),
    ]


def _steps(tiny: bool, networks: str, precision: str, batch: int) -> Row:
    """Returns the measurement of bare steps; a rehearsal compiles one peer only.

    CPUs without bfloat16 take seconds a step for it in PyTorch.
    """
    peers = ["eager", "compiled"] if find_spec("torchvision") else []
    if tiny:
        batch = 4
        peers = peers[: {"resnet50": 2}.get(networks, 1) * (precision == "float32")]
    script = os.path.relpath(Path(__file__).with_name("gpu_steps.py"))
    words = [sys.executable, script, "--networks", *networks.split()]
    words += ["--precisions", precision, "--batch", str(batch), "--peers", *peers]
    words += ["--size", "tiny", "--rounds", "2"] * tiny
    return Row(f"steps of {networks} {precision}", tuple(words), LIMIT, _last_line)


def _last_line(printed: str) -> dict[str, Any]:
    lines = printed.strip().splitlines()
    return dict(json.loads(lines[-1])) if lines else {}


def _fit(name: str, arguments: str, work: Path, skipped: int, skip: str = "") -> Row:
    """Returns the measurement of a run of training.fit; ``skipped`` epochs compile."""
    run = work / name
    words = [sys.executable, "-m", "training.fit", *arguments.split()]
    words += ["--precision", "bfloat16", "--out", str(run)]
    limit = SHORT if name == "fast_cifar" else LIMIT
    read = partial(read_run, Run(run), skipped)
    return Row(f"training.fit {name}", tuple(words), limit, read, skip)


def read_run(run: Run, skipped: int, printed: str = "") -> dict[str, Any]:
    """Returns the figures of a run; images per second are those after ``skipped``."""
    rows = run.epochs
    if not rows:
        return {}
    steady = [row["images_per_second"] for row in rows[skipped:]]
    figures = {
        "epochs": len(rows),
        "waiting": statistics.median(row["waiting"] for row in rows),
        "memory_mib": max(row["memory_gib"] for row in rows) * 1024,
        "top1": rows[-1]["val_top1"],
        "images_per_second": [row["images_per_second"] for row in rows],
    }
    if steady:
        figures |= {"best": max(steady), "median": statistics.median(steady)}
    return {"fit": figures}


def _require_gpu() -> None:
    """Raises UsageError unless JAX computes on a GPU."""
    script = "import jax; print(jax.devices()[0].platform)"
    python = [sys.executable, "-c", script]
    options: dict[str, Any] = {"capture_output": True, "text": True}
    try:
        found = subprocess.run(python, check=False, **options, timeout=120)
        platform = (found.stdout or found.stderr).strip().split("\n")[-1]
    except subprocess.TimeoutExpired:
        platform = "no answer in 120 s"
    if platform != "gpu":
        raise UsageError(
            f"JAX must compute on a GPU, got {platform}; install jax[cuda13], or try "
            "the benchmark with --rehearse"
        )


def main() -> None:
    """Runs the command line."""
    end = time.monotonic()
    options = command.parse(Options)
    end += options.minutes * 60
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # training.fit would use all
    os.environ["KERAS_BACKEND"] = "jax"
    if not options.rehearse:
        _require_gpu()
    facts: dict[str, Any] = {"machine": describe(), "rehearsal": options.rehearse}
    if not find_spec("torchvision"):
        facts["machine"] += "; torchvision is not installed, so it is not measured"
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{folder}/compiled")
        rows = make_rows(options, Path(folder))
        if options.rehearse:
            rows = [replace(row, limit=row.limit * SLOWER) for row in rows]
        run_rows(rows, end, options.out, partial(_write, options.out, facts))


def _write(out: Path, facts: dict[str, Any], outcomes: list[Outcome]) -> None:
    text = markdown(facts, outcomes)
    write_json(out / "results.json", facts | {"measurements": outcomes})
    write_atomically(out / "results.md", lambda path: path.write_text(text, "utf-8"))


if __name__ == "__main__":
    command.run(main)
