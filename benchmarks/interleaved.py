"""Steps of several contenders, measured in turns.

Every contender is in a process of its own. After a warm-up they take turns, step by
step (A B C A B C …), so that a machine whose speed drifts drifts for all; the others
wait meanwhile. Printed are images a second, the highest memory of each process, and the
ratios of the medians.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field

Step = Callable[[], object]  # does what is timed, once

ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # The contenders share a GPU's memory: none takes it all at once.
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}


@dataclass
class Measured:
    """What was seen of a contender.

    Attributes:
        seconds: Of each step that counts.
        memory: The highest so far, MiB: of the GPU's if it is used, else the process's.
        processor: The process's own seconds on a core, of each step; those of other
            processes that it has started are not among them.
    """

    seconds: list[float]
    memory: float = 0.0
    processor: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)


Results = dict[str, Measured]


@dataclass(frozen=True)
class Candidate:
    """What is measured: the training of a network, mostly.

    Attributes:
        name: For people.
        make: Makes its step, of precision and batch.
        onednn: Value of TF_ENABLE_ONEDNN_OPTS; None leaves TensorFlow its default.
        python: The interpreter that runs it.
    """

    name: str
    make: Callable[[str, int], Step]
    onednn: str | None = "1"
    python: str = sys.executable


class Worker:
    """A contender in a process of its own, which trains a step when told to."""

    def __init__(
        self, script: str, key: str, contender: Candidate, arguments: tuple[str, int]
    ) -> None:
        environment = os.environ | ENVIRONMENT
        environment.pop("TF_ENABLE_ONEDNN_OPTS", None)
        if contender.onednn is not None:
            environment["TF_ENABLE_ONEDNN_OPTS"] = contender.onednn
        self._name = contender.name
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (close)
        self._process = subprocess.Popen(
            [contender.python, script, "--worker", key, *map(str, arguments)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def step(self) -> tuple[float, float, float]:
        """Has the process train a step; returns seconds, MiB, seconds on a core.

        Raises:
            RuntimeError: The process failed; with the last that it said.
        """
        assert self._process.stdin and self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.write("step\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._process.wait()
            self._said.seek(0)
            raise RuntimeError(f"{self._name} failed:\n{self._said.read()[-2000:]}")
        seconds, memory, processor = map(float, answer.split())
        return seconds, memory, processor

    def close(self) -> None:
        """Ends the process."""
        with suppress(BrokenPipeError):
            self._process.communicate()
        self._said.close()


def work(contenders: dict[str, Candidate]) -> bool:
    """In a worker, trains a step for every line and answers with time and memory.

    Returns:
        Whether this process was a worker.
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
    """The most memory used so far, MiB: of the GPU computed on, else the process'."""
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    if jax and (told := jax.local_devices()[0].memory_stats()):
        return told["peak_bytes_in_use"] / 2**20
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
        contenders: By name.
        arguments: Precision and batch.
        rounds: Steps of each network that count.
        warmup: Steps of each before them.
    """
    with ExitStack() as stack:
        workers = {
            key: stack.enter_context(closing(Worker(script, key, contender, arguments)))
            for key, contender in contenders.items()
        }
        for worker in workers.values():
            for _ in range(warmup):
                worker.step()
        results = {key: Measured([]) for key in workers}
        for _ in range(rounds):
            for key, worker in workers.items():
                seconds, results[key].memory, used = worker.step()
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
    """Prints images a second, memory, and the ratios of the medians."""
    print(f"\n{title}: images/s")
    for key, result in results.items():
        best = batch / min(result.seconds)
        print(
            f"  {contenders[key].name:48} best {best:7.2f}  "
            f"median {batch / result.median:7.2f}  memory {result.memory:6,.0f} MiB"
        )
    for mine, peer in ratios:
        if peer in results:
            ratio = results[peer].median / results[mine].median
            print(f"  {contenders[mine].name} / {contenders[peer].name}: {ratio:.2f}×")
