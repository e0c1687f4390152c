"""Measures the speed of artifacts in turns.

Each artifact runs in a separate process in each runtime that reads it. After a warm-up
the processes take turns (A B C A B C …) while the others wait, so that a drift in the
machine's speed affects all of them alike.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.benchmarking.candidates import Candidate
from export.worker import Worker
from keras_resnet.errors import Stopped

WARMUP = 3  # unmeasured runs of each candidate at each batch size
# The threads of a runtime may keep spinning briefly after their work is done.
PAUSE = 0.01  # seconds between two turns


@dataclass(frozen=True)
class Measurement:
    """Speed of a candidate.

    Attributes:
        name: Name of the artifact.
        format: Format of the artifact.
        runtime: Name and version of the runtime.
        device: ``"CPU"`` or ``"GPU"``.
        size: Size of the artifact's files in bytes.
        accuracy: Accuracy of the candidate; None if unknown.
        latency: Median time of one image in seconds.
        latency99: 99th percentile of the time of one image in seconds.
        batch: Batch size with the highest throughput.
        throughput: Images per second at that batch size, from the median time.
    """

    name: str
    format: str
    runtime: str
    device: str
    size: int
    accuracy: float | None
    latency: float
    latency99: float
    batch: int
    throughput: float


def measure(
    candidates: list[Candidate], batches: tuple[int, ...], rounds: int
) -> list[Measurement]:
    """Measures candidates in turns.

    Args:
        candidates: The candidates.
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
        workers = []
        for c in candidates:
            with _failures_of(c):
                worker = Worker(c.artifact.path, c.runtime, c.environment)
            workers.append(stack.enter_context(worker))
        fewer = max(3, rounds // 5)
        steps = len(workers) * (rounds + fewer * len(batches))
        progress = tqdm(total=steps, unit="run", disable=None, leave=False)
        stack.enter_context(progress)
        single = _turns(candidates, workers, 1, rounds, progress)
        by_batch = {n: _turns(candidates, workers, n, fewer, progress) for n in batches}
    return [
        summarise(
            candidate, worker.facts, single[i], {n: s[i] for n, s in by_batch.items()}
        )
        for i, (candidate, worker) in enumerate(zip(candidates, workers, strict=True))
    ]


@contextmanager
def _failures_of(candidate: Candidate) -> Iterator[None]:
    """Ends the command with the reason for which a candidate's process fails."""
    try:
        yield
    except RuntimeError as error:
        raise Stopped(
            f"artifact must run in {candidate.runtime}, but {candidate.name} failed: "
            f"{error}"
        ) from None


def _turns(
    candidates: list[Candidate],
    workers: list[Worker],
    batch: int,
    rounds: int,
    progress: Any,
) -> list[list[float]]:
    """Returns the seconds of each measured run of a batch, for each candidate."""
    seconds: list[list[float]] = [[] for _ in workers]
    for turn in range(-WARMUP, rounds):
        for candidate, worker, times in zip(candidates, workers, seconds, strict=True):
            time.sleep(PAUSE)
            with _failures_of(candidate):
                taken = worker.request(time=batch)["seconds"]
            if turn >= 0:
                times.append(taken)
                progress.update()
    return seconds


def summarise(
    candidate: Candidate,
    facts: dict[str, Any],
    single: list[float],
    by_batch: dict[int, list[float]],
) -> Measurement:
    """Returns the measurement of a candidate, computed from its times.

    Args:
        candidate: The candidate.
        facts: What its ``Worker`` reports: ``version`` and ``device`` of the runtime.
        single: Seconds of each run with one image.
        by_batch: Seconds of each run, by batch size.
    """
    rates = {batch: batch / float(np.median(s)) for batch, s in by_batch.items()}
    best = max(rates, key=lambda batch: rates[batch])
    return Measurement(
        name=candidate.name,
        format=candidate.artifact.kind,
        runtime=f"{candidate.runtime} {facts['version']}",
        device=facts["device"],
        size=candidate.artifact.size,
        accuracy=candidate.accuracy,
        latency=float(np.median(single)),
        latency99=float(np.percentile(single, 99)),
        batch=best,
        throughput=rates[best],
    )
