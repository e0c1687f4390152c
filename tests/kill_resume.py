"""Kills a run again and again, resumes it, and compares it with one left in peace.

    python tests/kill_resume.py --kills 20 --seed 0

prints a line a trial. Every second trial waits for a save to be under way and kills
within it; every third kills a second time right after the resume. The run has dropout,
stochastic depth, random crops, shuffling and a checkpoint every other step.
"""

import argparse
import csv
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_resnet import command
from training.engine.progress import TIMED
from training.runs.run import Run

RECIPE = [
    *("--model", "resnet110_v2_cifar", "--dataset", "synthetic:12x8x3:3:200"),
    *("--overrides", "depths=(1,)", "skip=dropout", "survival=0.6"),
    *("--epochs", "6", "--batch-size", "16", "--learning-rate", "0.02"),
    *("--validation", "0.2", "--checkpoint-steps", "2"),
]


def start(out: Path, *more: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "training.fit", *RECIPE, "--out", str(out), *more]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(line, text=True, **pipes)


def finish(out: Path) -> str:
    """Resumes, or starts, a run to its end; returns what it said on stderr."""
    process = start(out, *["--resume"] * Run(out).exists)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    return stderr


def kill(out: Path, rng: random.Random, *, in_save: bool) -> bool:
    """Starts or resumes a run and kills it; returns whether that was inside a save."""
    process = start(out, *["--resume"] * Run(out).exists)
    saved = _names(out)
    while _names(out) <= saved and process.poll() is None:  # until it trains
        time.sleep(0.01)
    until = time.monotonic() + rng.uniform(0, 0.7)
    while process.poll() is None:
        if time.monotonic() > until and (not in_save or _saving(out)):
            break
        time.sleep(0 if in_save else 0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return _saving(out)


def _names(out: Path) -> set[str]:
    return {path.name for path in (out / "checkpoints").glob("0*")}


def _saving(out: Path) -> bool:
    return any((out / "checkpoints").glob("draft-*"))


def contents(out: Path) -> dict[str, Any]:
    """All that a run leaves and a timer does not decide."""
    from keras_resnet import load_model

    run = Run(out)
    newest = max((out / "checkpoints").glob("0*"))
    with run.history.open(newline="") as file:
        rows = [
            {k: v for k, v in row.items() if k not in TIMED}
            for row in csv.DictReader(file)
        ]
    found: dict[str, Any] = {"history": rows, "evaluation": run.evaluated}
    with np.load(newest / "state.npz") as state:
        found |= {f"state {name}": state[name].tobytes() for name in state.files}
    for path in (run.model, run.best_model):
        for i, weight in enumerate(load_model(path).get_weights()):
            found[f"{path.name} {i}"] = weight.tobytes()
    for part in ("train", "validation"):
        events = EventAccumulator(str(run.tensorboard / part), {"tensors": 0}).Reload()
        for tag in events.Tags()["tensors"]:
            points = events.Tensors(tag)
            found[f"curve {part} {tag}"] = [
                (
                    p.step,
                    None if tag[6:] in TIMED else p.tensor_proto.SerializeToString(),
                )
                for p in points
            ]
    return found


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """The names of what differs."""
    names = found.keys() | expected.keys()
    return sorted(n for n in names if found.get(n) != expected.get(n))


def trial(out: Path, expected: dict[str, Any], number: int, rng: random.Random) -> str:
    """Kills a run once or twice and lets it finish; returns what came of it."""
    inside = [kill(out, rng, in_save=number % 2 == 0)]
    if number % 3 == 0 and not Run(out).complete:
        inside.append(kill(out, rng, in_save=number % 2 == 0))
    stopped = max(_names(out), default="the start")
    said = finish(out)
    wrong = differences(contents(out), expected)
    kills = " and ".join("in a save" if i else "in a step" for i in inside)
    result = f"DIFFERS in {wrong[:5]}" if wrong else "identical"
    return f"{number:3}: killed {kills} after {stopped}: {result} {said.strip()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        finish(whole)
        expected = contents(whole)
        lines = []
        for number in range(options.first, options.first + options.kills):
            rng = random.Random(options.seed + number)
            lines.append(trial(Path(folder) / str(number), expected, number, rng))
            print(lines[-1], flush=True)
    same = sum("identical" in line for line in lines)
    print(f"{same} of {len(lines)} identical over {len(expected)} values")
    sys.exit(same != len(lines))


if __name__ == "__main__":
    command.load_backend("tensorflow", "jax")
    main()
