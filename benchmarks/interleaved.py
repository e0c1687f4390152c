"""Measures the steps of several contenders in turns.

Each contender runs in its own process. After a warm-up they take turns, step by step
(A B C A B C …), while the others wait, so that a drift in the machine's speed affects
all. Results are images per second, the peak memory of each process and the ratios of
the medians.
"""

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export.worker import LineProcess

Step = Callable[[], object]  # runs the timed code once

ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # The contenders share the GPU's memory, so none may claim all of it.
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}


@dataclass
class Measured:
    """Measurements of a contender.

    Attributes:
        seconds: Duration of each timed step.
        memory: Peak memory in MiB: the GPU's if it is used, otherwise the process's.
        processor: Core time of each step in seconds, for the process itself without
            the processes that it starts.
    """

    seconds: list[float]
    memory: float = 0.0
    processor: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median duration of a step in seconds."""
        return statistics.median(self.seconds)


Results = dict[str, Measured]


@dataclass(frozen=True)
class Candidate:
    """A candidate to measure, usually the training of a network.

    Attributes:
        name: Name to print.
        make: Returns the step for a precision and a batch size.
        onednn: Value of TF_ENABLE_ONEDNN_OPTS; None keeps TensorFlow's default.
        python: The interpreter that runs it.
    """

    name: str
    make: Callable[[str, int], Step]
    onednn: str | None = "1"
    python: str = sys.executable


def start(
    script: str, key: str, contender: Candidate, arguments: tuple[str, int]
) -> "LineProcess":
    """Starts a contender in its own process, which runs a step per line."""
    from export.worker import LineProcess  # the contender's interpreter may lack it

    environment = os.environ | ENVIRONMENT
    environment.pop("TF_ENABLE_ONEDNN_OPTS", None)
    if contender.onednn is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = contender.onednn
    command = [contender.python, script, "--worker", key, *map(str, arguments)]
    return LineProcess(command, environment)


def run_step(process: "LineProcess", name: str) -> tuple[float, float, float]:
    """Runs a step in a process; returns seconds, MiB and seconds of core time.

    Raises:
        RuntimeError: The process failed; the message ends with its last output.
    """
    process.send("step")
    return receive(process, name)


def receive(process: "LineProcess", name: str) -> tuple[float, float, float]:
    """Returns the figures of a step that a process was sent, as ``run_step`` does."""
    answer = process.receive()
    if not answer:
        raise RuntimeError(f"{name} failed:\n{process.wait()[1][-2000:]}")
    seconds, memory, processor = map(float, answer.split())
    return seconds, memory, processor


def work(contenders: dict[str, Candidate]) -> bool:
    """Runs a step per input line and prints time and memory, if this is a worker.

    Returns:
        Whether this process is a worker.
    """
    if sys.argv[1:2] != ["--worker"]:
        return False
    key, precision, batch = sys.argv[2:5]
    step = contenders[key].make(precision, int(batch))
    for _ in sys.stdin:
        began, used = time.perf_counter(), time.process_time()
        step()
        seconds, used = time.perf_counter() - began, time.process_time() - used
        print(seconds, _memory(), used, flush=True)
    return True


def _memory() -> float:
    """Returns the peak memory in MiB: the GPU's if used, otherwise the process's."""
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    if jax and (memory := jax.local_devices()[0].memory_stats()):
        return memory["peak_bytes_in_use"] / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(
    script: str,
    contenders: dict[str, Candidate],
    arguments: tuple[str, int],
    *,
    rounds: int,
    warmup: int = 2,
) -> Results:
    """Measures ``rounds`` steps of each contender of ``script``.

    Args:
        script: The file that calls ``work`` with the same contenders.
        contenders: Contenders by key.
        arguments: Precision and batch size.
        rounds: Number of timed steps per contender.
        warmup: Number of untimed steps per contender before them.
    """
    with ExitStack() as stack:
        workers = {
            key: stack.enter_context(start(script, key, contender, arguments))
            for key, contender in contenders.items()
        }
        for key, worker in workers.items():
            for _ in range(warmup):
                run_step(worker, contenders[key].name)
        results = {key: Measured([]) for key in workers}
        for _ in range(rounds):
            for key, worker in workers.items():
                seconds, results[key].memory, used = run_step(
                    worker, contenders[key].name
                )
                results[key].seconds.append(seconds)
                results[key].processor.append(used)
    return results


def report(
    title: str,
    batch: int,
    contenders: dict[str, Candidate],
    results: Results,
    ratios: Sequence[tuple[str, str]],
) -> None:
    """Prints images per second, memory and ``ratios`` of pairs of contenders."""
    print(f"\n{title}: images/s")
    for key, result in results.items():
        best = batch / min(result.seconds)
        print(
            f"  {contenders[key].name:48} best {best:7.2f}  "
            f"median {batch / result.median:7.2f}  "
            f"mean {batch / statistics.mean(result.seconds):7.2f}  "
            f"memory {result.memory:6,.0f} MiB"
        )
    for mine, peer in ratios:
        if peer in results:
            ratio = results[peer].median / results[mine].median
            print(f"  {contenders[mine].name} / {contenders[peer].name}: {ratio:.2f}×")
