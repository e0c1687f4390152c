"""Runs keras-tuner's chief and workers as processes on this machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from keras_resnet.errors import Stopped
from training.distributed.launch import free_ports, share_of_gpus
from training.distributed.processes import forward_signals, start_process
from training.sweeps.folder import Sweep, last_line
from training.sweeps.trials import CHIEF, stopped_error

GRACE = 60.0  # seconds for workers to save their progress
DEATHS = 5  # in a row while no trial begins or ends, before the sweep stops


def supervise(sweep: Sweep, workers: int, watch: Callable[[], None]) -> None:
    """Runs a sweep with a chief and workers; restarts processes that die.

    Args:
        sweep: The folder of a sweep that has begun.
        workers: Number of workers.
        watch: Called about once a second.

    Raises:
        Stopped: A signal arrived, or processes died repeatedly.
    """
    group = _Processes(sweep, workers)
    with forward_signals(group.processes) as signals:
        try:
            group.start()
            while not (signals or group.done):
                group.replace_dead()
                watch()
                time.sleep(1)
            group.wait(GRACE if signals else 0)
        finally:
            group.kill()
    watch()
    if signals:
        raise stopped_error(signals[0], sweep)


class _Processes:
    """A chief, which hands out the trials, and workers.

    Args:
        sweep: The folder of the sweep.
        workers: Number of workers.
    """

    def __init__(self, sweep: Sweep, workers: int) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self._names = [CHIEF, *(f"worker{i}" for i in range(workers))]
        self._sweep = sweep
        self._address = {
            "KERASTUNER_ORACLE_IP": "127.0.0.1",
            "KERASTUNER_ORACLE_PORT": str(free_ports(1)[0]),
        }
        self._deaths, self._events = 0, 0

    @property
    def done(self) -> bool:
        """Whether the chief or all workers have ended without an error."""
        codes = [process.poll() for process in self.processes]
        return codes[0] == 0 or set(codes[1:]) == {0}

    def start(self) -> None:
        """Starts all processes."""
        for name in self._names:
            self.processes.append(self._process(name))

    def replace_dead(self) -> None:
        """Restarts processes that have died, under the same name.

        Raises:
            Stopped: Processes keep dying without progress.
        """
        for place, name in enumerate(self._names):
            code = self.processes[place].poll()
            if not code:
                continue
            events = len(self._sweep.events())
            self._deaths = self._deaths + 1 if events == self._events else 1
            self._events = events
            last = last_line(self._sweep.log(name))
            how = signal.Signals(-code).name if code < 0 else last
            if self._deaths > DEATHS:
                raise Stopped(
                    f"{name} died {DEATHS} times while no trial began or ended "
                    f"({how}); see {self._sweep.log(name)}"
                )
            print(f"warning: {name} died ({how}) and is restarted", flush=True)
            self.processes[place] = self._process(name)

    def wait(self, seconds: float) -> None:
        """Waits until all processes have ended, at most for ``seconds``."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and None in (p.poll() for p in self.processes):
            time.sleep(0.05)

    def kill(self) -> None:
        """Kills all processes."""
        for process in self.processes:
            process.kill()
            process.wait()

    def _process(self, name: str) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", "training.sweep", "--resume"]
        line.append(f"--out={self._sweep.path}")
        environment = os.environ | self._address | {"KERASTUNER_TUNER_ID": name}
        if name != CHIEF:
            workers = self._names[1:]
            environment |= share_of_gpus(workers.index(name), len(workers))
        with self._sweep.log(name).open("ab") as log:
            return start_process(line, environment=environment, output=log)
