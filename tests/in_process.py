"""Runs sweeps and the processes of their trials within the process of the tests."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import IO, Any

import pytest

from keras_resnet import command
from training import fit
from training.sweeps.options import read_options
from training.sweeps.search import run_search


class EndedProcess:
    """What is left of a process that has ended, once others were looked at."""

    def __init__(self, code: int) -> None:
        self._polls = iter([None])
        self.code = code

    def poll(self) -> int | None:
        return next(self._polls, self.code)

    def wait(self) -> int:
        return self.code

    def send_signal(self, number: int) -> None:
        """Reaches nothing."""


def start_here(line: list[str], *, output: IO[bytes], **_: Any) -> EndedProcess:
    """Does what ``python -m training.fit`` does, and returns when it has ended."""
    assert line[1:3] == ["-m", "training.fit"]
    log, code = io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", line[2:])
        with redirect_stdout(log), redirect_stderr(log):
            try:
                command.run(fit.main)
            except SystemExit as stop:
                code = int(stop.code or 0)
    output.write(log.getvalue().encode())
    return EndedProcess(code)


def run_sweep(*arguments: str) -> None:
    """Does what ``python -m training.sweep`` does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.sweeps.trials.start_process", start_here)
        run_search(read_options(list(arguments)), None)
