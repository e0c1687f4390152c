"""Measures the speed of artifacts: ``python -m export.benchmark ARTIFACT…``.

Each artifact runs in a separate process in each runtime that reads it. After a warm-up
the processes take turns (A B C A B C …) while the others wait, so that a drift in the
machine's speed affects all of them alike.
"""

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from export import benchmark_report
from export.benchmark_report import Measurement
from export.candidates import (
    MEASURED,
    Candidate,
    find_candidates,
    plain_exports,
    source_runs,
)
from export.worker import ENVIRONMENT, Worker
from keras_resnet import command
from keras_resnet.errors import Stopped, UsageError, require_choice, require_positive
from training.runs.run import Run
from training.storage.writing import require_writable

WARMUP = 3  # unmeasured runs of each candidate at each batch size
# The threads of a runtime may keep spinning briefly after their work is done.
PAUSE = 0.01  # seconds between two turns


@dataclass(frozen=True)
class Options:
    """Compare the speed of artifacts in each installed runtime with Keras' export.

    Latency is that of one image; throughput is that of the best batch size.
    """

    artifacts: tyro.conf.Positional[tuple[Path, ...]]
    """Version folders of SavedModels, folders of versions, .tflite or .onnx files."""
    run: tuple[Path, ...] = ()
    """Runs whose plain model.export() is measured too; if omitted, the runs that the
    artifacts were made from, where they still exist."""
    runtimes: tuple[str, ...] = ()
    """Any of tensorflow, openvino, litert, onnxruntime; if omitted, all installed."""
    batches: tuple[int, ...] = (1, 4, 16, 32)
    """Batch sizes to try for the highest throughput."""
    rounds: int = 100
    """Measured runs of each with one image; a fifth as many at each batch size."""
    out: Path | None = None
    """Folder for benchmark.json, .svg and .png."""

    def __post_init__(self) -> None:
        require_positive(self, "rounds")
        if not self.artifacts:
            raise UsageError("artifacts must name at least one path, got none")
        if not self.batches or min(self.batches) < 1:
            raise UsageError(f"batches must be at least 1, got {self.batches}")
        for runtime in self.runtimes:
            require_choice("runtime", runtime, MEASURED)


def measure(
    competing: list[Candidate], batches: tuple[int, ...], rounds: int
) -> list[Measurement]:
    """Measures candidates in turns.

    Args:
        competing: The candidates.
        batches: Batch sizes to try for the highest throughput.
        rounds: Measured runs of each with one image, at least 1; a fifth as many, at
            least 3, at each batch size.

    Returns:
        One measurement for each candidate, in the same order.

    Raises:
        Stopped: A candidate cannot be loaded or run.
    """
    from tqdm import tqdm

    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(c)) for c in competing]
        fewer = max(3, rounds // 5)
        steps = len(workers) * (rounds + fewer * len(batches))
        progress = tqdm(total=steps, unit="run", disable=None, leave=False)
        stack.enter_context(progress)
        single = _turns(competing, workers, 1, rounds, progress)
        by_batch = {n: _turns(competing, workers, n, fewer, progress) for n in batches}
    return [
        measurement(
            contender, worker.facts, single[i], {n: s[i] for n, s in by_batch.items()}
        )
        for i, (contender, worker) in enumerate(zip(competing, workers, strict=True))
    ]


def _worker(contender: Candidate) -> Worker:
    try:
        return Worker(contender.artifact.path, contender.runtime, contender.environment)
    except RuntimeError as error:
        raise _failed(contender, error) from None


def _failed(contender: Candidate, error: RuntimeError) -> Stopped:
    return Stopped(
        f"artifact must run in {contender.runtime}, got {contender.name}: {error}"
    )


def _turns(
    competing: list[Candidate],
    workers: list[Worker],
    batch: int,
    rounds: int,
    progress: Any,
) -> list[list[float]]:
    """Returns the seconds of each measured run of a batch, for each candidate."""
    seconds: list[list[float]] = [[] for _ in workers]
    for turn in range(-WARMUP, rounds):
        for contender, worker, times in zip(competing, workers, seconds, strict=True):
            time.sleep(PAUSE)
            try:
                taken = worker.tell(time=batch)["seconds"]
            except RuntimeError as error:
                raise _failed(contender, error) from None
            if turn >= 0:
                times.append(taken)
                progress.update()
    return seconds


def measurement(
    contender: Candidate,
    facts: dict[str, Any],
    single: list[float],
    by_batch: dict[int, list[float]],
) -> Measurement:
    """Returns the measurement of a candidate, computed from its times.

    Args:
        contender: The candidate.
        facts: What its ``Worker`` reports: ``version`` and ``device`` of the runtime.
        single: Seconds of each run with one image.
        by_batch: Seconds of each run, by batch size.
    """
    rates = {batch: batch / float(np.median(s)) for batch, s in by_batch.items()}
    best = max(rates, key=lambda batch: rates[batch])
    return Measurement(
        name=contender.name,
        format=contender.artifact.kind,
        runtime=f"{contender.runtime} {facts['version']}",
        device=facts["device"],
        size=contender.artifact.size,
        accuracy=contender.accuracy,
        latency=float(np.median(single)),
        latency99=float(np.percentile(single, 99)),
        batch=best,
        throughput=rates[best],
    )


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m export.benchmark")
    if options.out is not None:
        require_writable(options.out / "benchmark.json")
    given = dict(os.environ)
    os.environ.update({**ENVIRONMENT, **os.environ})  # before TensorFlow is imported
    found = find_candidates(options.artifacts, options.runtimes)
    runs = options.run or source_runs(found)
    for path in runs:
        Run.open(path).require_complete()
    command.load_backend()
    with plain_exports(runs, given) as plain:
        measured = measure([*plain, *found], options.batches, options.rounds)
    print(benchmark_report.describe(measured), end="")
    if options.out is not None:
        benchmark_report.write(measured, options.out)
        print(f"benchmark: {options.out}/benchmark.json, .svg, .png")


if __name__ == "__main__":
    command.run(main)
