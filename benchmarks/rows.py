"""Runs commands one after the other until a deadline, each within its own limit."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.storage.system import ending_with_parent

Outcome = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A measurement.

    Attributes:
        name: Name to print.
        command: Program and arguments.
        limit: Most seconds that it may take.
        read: Returns the figures from the command's standard output.
        skip: Why the row is skipped, if it is.
    """

    name: str
    command: tuple[str, ...]
    limit: float
    read: Callable[[str], dict[str, Any]]
    skip: str = ""


def run_rows(
    rows: Iterable[Row],
    deadline: float,
    folder: Path,
    write: Callable[[list[Outcome]], None],
) -> None:
    """Runs the rows in order; calls ``write`` with all outcomes before and after each.

    A row that could not have half of its limit before the deadline is skipped. If an
    exception, such as one that a signal handler raises, ends the row that runs, its
    outcome and those of the rows left are written before the exception goes on.

    Args:
        rows: The measurements, the most valuable first.
        deadline: Value of ``time.monotonic()`` at which the last row has ended.
        folder: For the output of the commands.
        write: Takes the outcomes: ``name``, ``command``, ``status``, ``seconds`` and
            the figures of each row.
    """
    outcomes: list[Outcome] = []
    ended: BaseException | None = None
    for row in rows:
        text = " ".join(row.command).replace(sys.executable, "python")
        outcome: Outcome = {"name": row.name, "command": text}
        left = deadline - time.monotonic()
        reason = row.skip or ("stopped" if ended else "")
        if not reason and left < row.limit / 2:
            reason = f"{max(left, 0):.0f} s left, fewer than half of {row.limit:.0f}"
        status = f"skipped: {reason}" if reason else "running"
        outcomes.append(outcome | {"status": status})
        if not reason:
            print(f"{row.name} …", flush=True)
            write(outcomes)
            try:
                outcomes[-1] = outcome | _run(row, min(row.limit, left), folder)
            except (KeyboardInterrupt, SystemExit) as error:
                ended = error
                outcomes[-1] = outcome | {"status": "stopped"} | _figures(row, folder)
        print(f"{row.name}: {outcomes[-1]['status']}", flush=True)
        write(outcomes)
    if ended:
        raise ended


def _run(row: Row, limit: float, folder: Path) -> Outcome:
    """Runs a row's command and returns its status, its seconds and its figures."""
    began = time.monotonic()
    with (
        _log(row, folder, "out").open("w") as out,
        _log(row, folder, "err").open("w") as err,
    ):
        process = subprocess.Popen(
            row.command,
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=ending_with_parent(),  # noqa: PLW1509 - no threads
        )
        try:
            code = process.wait(limit)
            status = "done" if code == 0 else f"failed with exit code {code}"
        except subprocess.TimeoutExpired:
            status = f"stopped after {limit:.0f} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and all that it started
            process.wait()
    found = {"status": status, "seconds": round(time.monotonic() - began, 1)}
    if status.startswith("failed"):
        lines = _log(row, folder, "err").read_text("utf-8", "replace").split("\n")
        found["error"] = "\n".join(lines[-20:])
    return found | _figures(row, folder)


def _figures(row: Row, folder: Path) -> dict[str, Any]:
    try:
        return row.read(_log(row, folder, "out").read_text("utf-8", "replace"))
    except (ValueError, KeyError, OSError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _log(row: Row, folder: Path, kind: str) -> Path:
    return folder / f"{row.name.replace(' ', '_')}.{kind}"
