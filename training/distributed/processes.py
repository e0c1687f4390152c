"""Processes that end with the one that started them."""

import ctypes
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import IO

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def start_process(
    line: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    output: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a process; to be called by the thread that waits for it.

    Args:
        line: Program and arguments.
        environment: Its variables; None: this process's.
        output: Where it prints, errors too; None: where this process does.
    """
    return subprocess.Popen(
        line,
        env=environment,
        stdout=output,
        stderr=output,
        # What the terminal sends reaches it once, through this process.
        start_new_session=True,
        # It ends with this process, even if that is killed.
        preexec_fn=partial(  # noqa: PLW1509 - the child calls nothing but this
            ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, signal.SIGKILL
        ),
    )


@contextmanager
def forward_signals(
    processes: Sequence[subprocess.Popen[bytes]],
) -> Iterator[list[int]]:
    """Sends SIGINT and SIGTERM on; yields a list of those that came.

    Args:
        processes: May grow meanwhile.
    """
    came: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        came.append(number)
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
