"""keras-tuner's chief and workers as processes of this machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from keras_resnet.errors import Stopped
from training.distributed.launch import free_ports, share_of_gpus
from training.distributed.processes import forward_signals, start_process
from training.sweeps.folder import Sweep, lines_of
from training.sweeps.trials import CHIEF, stopped

GRACE = 60.0  # seconds for workers to save what they train
DEATHS = 5  # in a row without any trial begun or ended, after which it is a fault


def supervise(sweep: Sweep, workers: int, watch: Callable[[], None]) -> None:
    """Has a chief and workers run the sweep to its end; starts again those that die.

    Args:
        sweep: The folder, begun.
        workers: How many.
        watch: Is called all the time.

    Raises:
        Stopped: A signal came, or one died again and again.
    """
    team = _Team(sweep, workers)
    with forward_signals(team.processes) as signals:
        try:
            team.start()
            while not (signals or team.done):
                team.replace_dead()
                watch()
                time.sleep(1)
            team.wait(GRACE if signals else 0)
        finally:
            team.kill()
    watch()
    if signals:
        raise stopped(signals[0], sweep)


class _Team:
    """A chief, which hands out the trials, and workers.

    Args:
        sweep: Their folder.
        workers: How many.
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
        """The chief, or all workers, have ended well."""
        codes = [process.poll() for process in self.processes]
        return codes[0] == 0 or set(codes[1:]) == {0}

    def start(self) -> None:
        """Starts all."""
        for name in self._names:
            self.processes.append(self._process(name))

    def replace_dead(self) -> None:
        """Starts again, under the same name, who has died.

        Raises:
            Stopped: That did not help.
        """
        for place, name in enumerate(self._names):
            code = self.processes[place].poll()
            if not code:
                continue
            events = len(self._sweep.events())
            self._deaths = self._deaths + 1 if events == self._events else 1
            self._events = events
            said = next(lines_of(self._sweep.log(name)), "")
            how = signal.Signals(-code).name if code < 0 else said
            if self._deaths > DEATHS:
                raise Stopped(
                    f"{name} died {DEATHS} times without any trial begun or ended "
                    f"({how}); see {self._sweep.log(name)}"
                )
            print(f"warning: {name} died ({how}) and is started again", flush=True)
            self.processes[place] = self._process(name)

    def wait(self, seconds: float) -> None:
        """Waits until all have ended, but not for ever."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and None in (p.poll() for p in self.processes):
            time.sleep(0.05)

    def kill(self) -> None:
        """Ends all."""
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
