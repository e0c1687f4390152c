"""Measures the training steps of networks and of torchvision's for gpu.py.

    KERAS_BACKEND=jax python benchmarks/gpu_steps.py --networks resnet50 --batch 256

All candidates compile at the same time. Each time one is ready, those that are take
turns, and a line of JSON says how fast they are; the last line holds all. A candidate
that fails costs only its own figures.
"""

import json
import os
import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import training_step
from interleaved import ENVIRONMENT, Candidate, receive, run_step, start, work
from peers import torchvision_candidates
from training_step import Network

if TYPE_CHECKING:
    from export.worker import LineProcess

WARMUP = 3  # turns of each candidate that are not timed
BRIEF = 2  # timed turns while other candidates are not ready


NETWORKS: dict[str, Network] = {
    **training_step.NETWORKS,
    "resnet20_fashion": Network(shape=(28, 28, 1), twin="resnet20_cifar"),
}
STEPS = {"full": 10, "tiny": 1}  # training steps of a turn
TINY = 32  # side of the tiny images in pixels


@dataclass(frozen=True)
class Options:
    """Measure the training steps of networks and of torchvision's."""

    networks: tuple[str, ...]
    """Names in NETWORKS."""
    batch: int
    """Images per step."""
    precisions: tuple[Literal["bfloat16", "float32"], ...] = ("bfloat16",)
    """Precisions of the networks."""
    peers: tuple[Literal["eager", "compiled"], ...] = ()
    """Kinds of torchvision's network to measure."""
    rounds: int = 10
    """Timed turns of each candidate."""
    size: Literal["full", "tiny"] = "full"
    """tiny: one step a turn, small images."""


def candidates(name: str, size: str) -> dict[str, Candidate]:
    """Returns a network and its peers by the names of the columns."""
    network, steps = NETWORKS[name], STEPS[size]
    side, _, channels = network.shape
    side = side if size == "full" else min(side, TINY)
    model, shape = network.twin or name, (side, side, channels)
    build = partial(training_step.ours, name=model, shape=shape, steps=steps)
    found = {"ours": Candidate(name, build)}
    if network.torchvision:
        peers = torchvision_candidates(network.torchvision, side=side, steps=steps)
        found["eager"], found["compiled"] = peers
    return found


CANDIDATES = {
    f"{name}/{kind}/{size}": candidate
    for size in STEPS
    for name in NETWORKS
    for kind, candidate in candidates(name, size).items()
}
Job = tuple[str, str, str]  # network, precision, kind of candidate


def turns(
    workers: "dict[Job, LineProcess]",
    failures: dict[str, str],
    options: Options,
    rounds: int,
) -> list[dict[str, Any]]:
    """Has the workers run in turns; returns images per second and peak memory.

    A worker that fails is removed, and its last line added to ``failures``.
    """
    seconds: dict[Job, list[float]] = {job: [] for job in workers}
    memory: dict[Job, float] = {}
    for job in [*workers] * rounds:
        if job not in workers:
            continue
        try:
            duration, memory[job], _ = run_step(workers[job], "/".join(job))
            seconds[job].append(duration)
        except RuntimeError as error:
            failures["/".join(job)] = str(error).splitlines()[-1]
            del workers[job]
    images = options.batch * STEPS[options.size]
    return [
        dict(zip(("network", "precision", "kind"), job, strict=True))
        | {
            "batch": options.batch,
            "best": images / min(taken),
            "median": images / statistics.median(taken),
            "memory_mib": memory[job],
        }
        for job, taken in seconds.items()
        if taken
    ]


def main() -> None:
    """Runs the command line."""
    import tyro

    options = tyro.cli(Options)
    os.environ.update(ENVIRONMENT)
    jobs = [
        (name, precision, kind)
        for precision in options.precisions
        for name in options.networks
        for kind in ("eager", "ours", "compiled")
        if kind in ("ours", *options.peers) and kind in candidates(name, options.size)
    ]
    ready, failures = {}, {}
    with ExitStack() as stack:
        started = {}
        for job in jobs:
            key = f"{job[0]}/{job[2]}/{options.size}"
            arguments = (job[1], options.batch)
            worker = start(__file__, key, CANDIDATES[key], arguments)
            started[job] = stack.enter_context(worker)
            started[job].send("step")
        for job in jobs:
            try:
                receive(started[job], "/".join(job))
                for _ in range(WARMUP - 1):
                    run_step(started[job], "/".join(job))
                ready[job] = started[job]
            except RuntimeError as error:
                failures["/".join(job)] = str(error).splitlines()[-1]
            rounds = options.rounds if job == jobs[-1] else BRIEF
            figures = turns(ready, failures, options, rounds)
            print(json.dumps({"steps": figures, "failures": failures}), flush=True)


if __name__ == "__main__" and not work(CANDIDATES):
    main()
