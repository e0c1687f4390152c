"""Starts processes that end with their parent, and forwards signals to them."""

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import IO

from training.storage import system

MOST_WORKERS = 256  # that a command starts on one machine


def start_process(
    line: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    output: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts and returns a process; call this in the thread that waits for it.

    Args:
        line: Program and arguments.
        environment: Environment variables; None: those of this process.
        output: File for stdout and stderr; None: those of this process.
    """
    return subprocess.Popen(
        line,
        env=environment,
        stdout=output,
        stderr=output,
        # Signals of the terminal reach it only once, through this process.
        start_new_session=True,
        # It ends with this process, even if this process is killed.
        preexec_fn=system.ending_with_parent(),  # noqa: PLW1509 - it calls only this
    )


@contextmanager
def forward_signals(
    processes: Sequence[subprocess.Popen[bytes]],
) -> Iterator[list[int]]:
    """Forwards SIGINT and SIGTERM; yields the list of received signals.

    Args:
        processes: The receivers; the sequence may grow meanwhile.
    """
    received: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, forward) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
