"""Kills the processes of sweeps at random moments, resumes, and compares the results.

    python tests/kill_sweep.py --kills 3 --seed 0

For each tuner, it kills ``--kills`` times the sweep or the process of a trial. A killed
sweep resumes with one worker or with ``--workers``. The finished sweep must have each
trial once and, with grid and random, the results of a sweep that was left in peace.
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

import psutil

from training.sweeps.folder import Sweep
from training.sweeps.results import Row

SPACE = ["--space", "learning_rate=0.02,0.05,0.1", "momentum=0.8,0.9"]
SMALL = ["--overrides", "depths=(1,1,1)", "--dataset", "synthetic:12x8x3:3:200"]
TUNERS = ("grid", "random", "bayesian", "hyperband")
TIMED = ("seconds",)


def start(out: Path, tuner: str, workers: int) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "training.sweep", "--out", str(out)]
    if Sweep(out).exists:
        line += ["--resume", "--workers", str(workers)]
    else:
        line += [*SPACE, *SMALL, "--tuner", tuner, "--workers", str(workers)]
        line += ["--epochs", "4" if tuner == "hyperband" else "3"]
        line += [] if tuner in ("grid", "hyperband") else ["--trials", "6"]
    return subprocess.Popen(
        line, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def victims(process: subprocess.Popen[str]) -> dict[str, list[psutil.Process]]:
    """The processes of a sweep by what they do."""
    found: dict[str, list[psutil.Process]] = {"sweep": [psutil.Process(process.pid)]}
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if "training.fit" in child.cmdline():
                found.setdefault("trial", []).append(child)
        except psutil.Error:
            continue
    return found


def kill_one(process: subprocess.Popen[str], what: str, rng: random.Random) -> str:
    """Waits a while, then kills; returns what it killed."""
    until = time.monotonic() + rng.uniform(4, 14)
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    if process.poll() is not None:
        return "nothing, it had ended"
    found = victims(process)
    while what not in found and process.poll() is None:
        time.sleep(0.05)
        found = victims(process)
    if process.poll() is not None:
        return "nothing, it had ended"
    rng.choice(found[what]).send_signal(signal.SIGKILL)
    return what


def disturbed(out: Path, tuner: str, workers: int, what: list[str], seed: int) -> str:
    """Runs a sweep to its end, killing on the way; returns what was killed."""
    rng = random.Random(seed)
    process, killed = start(out, tuner, workers), []
    for each in what:
        killed.append(kill_one(process, each, rng))
        if killed[-1] == "sweep":
            process.communicate()
            process = start(out, tuner, rng.choice((1, workers)))
    _, said = process.communicate(timeout=900)
    assert process.returncode == 0, said
    return ", ".join(killed)


def results(out: Path) -> list[Row]:
    with Sweep(out).results.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tuners", nargs="+", choices=TUNERS, default=TUNERS)
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        for tuner in options.tuners:
            peace = Path(folder) / f"{tuner}-peace"
            disturbed(peace, tuner, 1, [], 0)
            expected = results(peace)
            for workers in options.workers:
                what = rng.choices(("sweep", "trial"), k=options.kills)
                out = Path(folder) / f"{tuner}-{workers}"
                killed = disturbed(out, tuner, workers, what, rng.randrange(10**6))
                found = results(out)
                names = [row["trial"] for row in found]
                once = len(set(names)) == len(names) == len(expected)
                whole = {row["status"] for row in found} == {"completed"}
                same = [{n: v for n, v in r.items() if n not in TIMED} for r in found]
                want = [
                    {n: v for n, v in r.items() if n not in TIMED} for r in expected
                ]
                print(
                    f"{tuner}, {workers} worker(s), killed {killed}: "
                    f"{len(found)} trials, each once: {once}, all completed: {whole}, "
                    f"the same as in peace: {same == want}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
