"""Measures the time until a recipe reaches an accuracy, for several seeds.

    python benchmarks/time_to_accuracy.py --dataset idx:FOLDER

Accuracy is that of the test split after each epoch. Time includes startup and tests.
Unknown options go to training.fit.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from machine import describe


@dataclass(frozen=True)
class Options:
    """Train with several seeds and report the time to each accuracy.

    Other options go to training.fit: `--seeds 1 --epochs 40`.
    """

    dataset: str
    """As for training.fit, without a validation split."""
    recipe: str = "fast_cifar"
    """Name of the recipe."""
    targets: tuple[float, ...] = (0.93, 0.94)
    """Accuracies to reach."""
    seeds: int = 3
    """Number of seeds, from 0."""


def accuracies(
    options: Options, others: list[str], seed: int, out: Path
) -> list[tuple[float, float]]:
    """Trains and returns seconds and test accuracy at the end of each epoch."""
    command = [sys.executable, "-m", "training.fit", "--recipe", options.recipe]
    command += ["--dataset", options.dataset, "--seed", str(seed), "--out", str(out)]
    command += others
    began, found = time.perf_counter(), []
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdout
        for line in process.stdout:
            reached = re.search(r"^epoch .*val_top1 ([\d.]+)", line)
            if reached:
                found.append((time.perf_counter() - began, float(reached[1])))
                print(
                    f"  seed {seed}: {found[-1][0]:6.0f} s {found[-1][1]:.2%}",
                    flush=True,
                )
        if process.wait():
            errors.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed:\n{errors.read()[-2000:]}")
    return found


def main() -> None:
    """Runs the command line."""
    options, others = tyro.cli(Options, return_unknown_args=True)
    print(describe())
    runs = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(accuracies(options, others, seed, Path(folder, "run")))
    last = [run[-1] for run in runs]
    print(
        f"at the end: {', '.join(f'{top1:.2%}' for _, top1 in last)} after "
        f"{', '.join(f'{seconds:.0f}' for seconds, _ in last)} s"
    )
    for target in options.targets:
        times = [next((s for s, top1 in run if top1 >= target), None) for run in runs]
        reached = [seconds for seconds in times if seconds is not None]
        middle = f", mean {statistics.mean(reached):.0f} s" if reached else ""
        print(
            f"{target:.1%}: "
            f"{', '.join('–' if s is None else f'{s:.0f}' for s in times)}{middle}"
        )


if __name__ == "__main__":
    main()
