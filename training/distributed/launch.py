"""Starts, monitors and stops several workers on this machine."""

import glob
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from typing import IO

from keras_resnet.errors import Stopped
from training.distributed.cluster import config
from training.distributed.processes import forward_signals, start_process
from training.runs.run import Run

# Set for workers, which start no workers and whose failures are reported here.
WATCHED = "KERAS_RESNET_WATCHED"
LOST = 75  # exit code of a worker that ended because another one had ended
GRACE = 60.0  # seconds that the others have to end after one has ended by itself


def supervise(run: Run, arguments: list[str], workers: int, restarts: int) -> None:
    """Trains with local workers and restarts all of them if one dies.

    Args:
        run: The workers' run.
        arguments: Command-line arguments of ``python -m training.fit``.
        workers: Number of workers, at least 1.
        restarts: Maximum number of restarts from the last checkpoint.

    Raises:
        Stopped: A worker died after the last restart, or a signal stopped them.
        SystemExit: Worker 0 ended for a reason that it has reported.
    """
    for left in range(restarts, -1, -1):
        died = Workers(workers).train([*arguments, *["--resume"] * run.exists])
        if died is None:
            return
        if left == 0:
            raise Stopped(
                f"{died}, and the others were stopped; the last checkpoint is kept: "
                "continue with --resume"
            )
        print(
            f"warning: {died}; all workers restart from the last checkpoint "
            f"({left - 1} restarts left)",
            file=sys.stderr,
            flush=True,
        )


class Workers:
    """The processes of one training job on this machine.

    Args:
        count: Number of processes.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._processes: list[subprocess.Popen[bytes]] = []
        self._outputs: list[IO[bytes] | None] = []

    def train(self, arguments: list[str]) -> str | None:
        """Runs ``python -m training.fit`` in all processes until they end.

        Returns:
            None if all succeeded, or else which one died and how.

        Raises:
            Stopped: A signal stopped them before worker 0 could report it.
            SystemExit: Worker 0 ended by itself for a reason that it has reported.
        """
        with ExitStack() as stack:
            signals = stack.enter_context(forward_signals(self._processes))
            stack.callback(self._kill)
            self._start(arguments, stack)
            ended = self._wait_for_failure()
            if ended is None:
                return None
            self._wait(GRACE if ended[1] > 0 else 0)
            status = self._processes[0].poll()
            died = self._describe_failure(*ended)
        if status is not None and status > 0 and status != LOST:
            raise SystemExit(status)
        if signals:
            name = signal.Signals(signals[-1]).name
            raise Stopped(f"stopped by {name} before training", 128 + signals[-1])
        return died

    def _start(self, arguments: list[str], stack: ExitStack) -> None:
        hosts = [f"127.0.0.1:{port}" for port in free_ports(self._count)]
        line = [sys.executable, "-m", "training.fit", *arguments]
        for index in range(self._count):
            output = None
            if index:  # only worker 0 prints
                file = tempfile.TemporaryFile()  # noqa: SIM115 - the stack closes it
                output = stack.enter_context(file)
            self._outputs.append(output)
            environment = os.environ | _environment(hosts, index)
            self._processes.append(
                start_process(line, environment=environment, output=output)
            )

    def _wait_for_failure(self) -> tuple[int, int] | None:
        """Waits until all succeed; returns the first that fails and its exit code."""
        until = math.inf
        while True:
            codes = [process.poll() for process in self._processes]
            ended = [(index, code) for index, code in enumerate(codes) if code]
            by_itself = [(index, code) for index, code in ended if code != LOST]
            if by_itself:
                return by_itself[0]
            if None not in codes or time.monotonic() > until:
                return ended[0] if ended else None
            if ended:
                until = min(until, time.monotonic() + GRACE)
            time.sleep(0.05)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if all(process.poll() is not None for process in self._processes):
                return
            time.sleep(0.05)

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def _describe_failure(self, index: int, code: int) -> str:
        who = f"worker {index} of {self._count}"
        if code < 0:
            return f"{who} died of {signal.Signals(-code).name}"
        output, text = self._outputs[index], ""
        if output is not None:
            output.seek(0)
            text = output.read().decode("utf-8", "replace").strip()
        last = f" ({text.splitlines()[-1]:.200})" if text else ""
        return f"{who} failed with exit code {code}{last}"


def _environment(hosts: list[str], index: int) -> dict[str, str]:
    """Returns one worker's variables: its place in the cluster and its GPUs."""
    place = {WATCHED: "1"} | share_of_gpus(index, len(hosts))
    if len(hosts) > 1:
        place["TF_CONFIG"] = json.dumps(config(hosts, index))
    return place


def share_of_gpus(index: int, count: int) -> dict[str, str]:
    """Returns the variables that give a process its share of this machine's GPUs.

    Args:
        index: Index of the process.
        count: Number of processes; if there are fewer GPUs, every process uses all.
    """
    known = os.environ.get("CUDA_VISIBLE_DEVICES")
    here = [file.removeprefix("/dev/nvidia") for file in glob.glob("/dev/nvidia[0-9]*")]
    gpus = sorted(here) if known is None else [g for g in known.split(",") if g]
    if len(gpus) < count:
        return {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(gpus[index::count])}


def free_ports(count: int) -> list[int]:
    """Returns unused ports of this machine."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
