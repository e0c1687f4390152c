"""Several workers on this machine: started, watched and ended together."""

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

# Set for workers, which start none themselves and whose deaths are told here.
WATCHED = "KERAS_RESNET_WATCHED"
LOST = 75  # exit code of such a worker that ended because another had
GRACE = 60.0  # seconds in which the others must follow one that ended by itself


def supervise(run: Run, arguments: list[str], workers: int, restarts: int) -> None:
    """Trains with local workers; starts all again where one dies, some times.

    Args:
        run: Their folder.
        arguments: Of ``python -m training.fit``, as they were given here.
        workers: Processes.
        restarts: How often to start again from the last checkpoint.

    Raises:
        Stopped: One died, or a signal stopped them.
        SystemExit: Worker 0 ended otherwise, having told why.
    """
    for left in range(restarts, -1, -1):
        died = Workers(workers).train([*arguments, *["--resume"] * run.exists])
        if died is None:
            return
        if left == 0:
            raise Stopped(
                f"{died}, and the others were ended; what was saved is kept: continue "
                "with --resume"
            )
        print(
            f"warning: {died}; all start again from the last checkpoint "
            f"({left - 1} restarts left)",
            file=sys.stderr,
            flush=True,
        )


class Workers:
    """The processes of one training job on this machine.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._processes: list[subprocess.Popen[bytes]] = []
        self._outputs: list[IO[bytes] | None] = []

    def train(self, arguments: list[str]) -> str | None:
        """Runs ``python -m training.fit`` to its end in all of them.

        Returns:
            None where all ended well, else which one died, and how.

        Raises:
            Stopped: A signal stopped them before worker 0 could say so.
            SystemExit: Worker 0 ended otherwise, by itself, having told why.
        """
        with ExitStack() as stack:
            signals = stack.enter_context(forward_signals(self._processes))
            stack.callback(self._kill)
            self._start(arguments, stack)
            ended = self._watch()
            if ended is None:
                return None
            self._wait(GRACE if ended[1] > 0 else 0)
            told = self._processes[0].poll()
            died = self._obituary(*ended)
        if told is not None and told > 0 and told != LOST:
            raise SystemExit(told)
        if signals:
            name = signal.Signals(signals[-1]).name
            raise Stopped(f"stopped by {name} before training", 128 + signals[-1])
        return died

    def _start(self, arguments: list[str], stack: ExitStack) -> None:
        hosts = [f"127.0.0.1:{port}" for port in free_ports(self._count)]
        line = [sys.executable, "-m", "training.fit", *arguments]
        for index in range(self._count):
            output = None
            if index:  # worker 0 speaks for all
                file = tempfile.TemporaryFile()  # noqa: SIM115 - the stack closes it
                output = stack.enter_context(file)
            self._outputs.append(output)
            environment = os.environ | _environment(hosts, index)
            self._processes.append(
                start_process(line, environment=environment, output=output)
            )

    def _watch(self) -> tuple[int, int] | None:
        """Waits for all to end well, or for the first that ends otherwise by itself."""
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

    def _obituary(self, index: int, code: int) -> str:
        who = f"worker {index} of {self._count}"
        if code < 0:
            return f"{who} died of {signal.Signals(-code).name}"
        output, said = self._outputs[index], ""
        if output is not None:
            output.seek(0)
            said = output.read().decode("utf-8", "replace").strip()
        last = f" ({said.splitlines()[-1]:.200})" if said else ""
        return f"{who} failed with exit code {code}{last}"


def _environment(hosts: list[str], index: int) -> dict[str, str]:
    """What one worker finds: its place, and its part of the machine's GPUs."""
    place = {WATCHED: "1"} | share_of_gpus(index, len(hosts))
    if len(hosts) > 1:
        place["TF_CONFIG"] = json.dumps(config(hosts, index))
    return place


def share_of_gpus(index: int, count: int) -> dict[str, str]:
    """What gives one of several processes its part of this machine's GPUs.

    Args:
        index: Of the process.
        count: Of the processes; where there are fewer GPUs, all see all of them.
    """
    known = os.environ.get("CUDA_VISIBLE_DEVICES")
    here = [file.removeprefix("/dev/nvidia") for file in glob.glob("/dev/nvidia[0-9]*")]
    gpus = sorted(here) if known is None else [g for g in known.split(",") if g]
    if len(gpus) < count:
        return {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(gpus[index::count])}


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
