"""The folder of a sweep: its plan, its journal, its trials and their results.

The journal is the sweep's memory: a line for each trial begun or ended, on the disk
before anything follows from it. All else can be made again from it and the runs.
"""

import csv
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from keras_resnet.errors import UsageError
from training.runs import Run
from training.writing import flush, write_atomically, write_json, written_to

Event = dict[str, Any]
Row = dict[str, Any]
RESULTS = ("params", "macs", "top1", "seconds", "reason")
EXTRA = ("val_top1", "train_top1", "epochs", "off_target")


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def _settings(self) -> Path:
        return self.path / "sweep.json"

    @property
    def _journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def results(self) -> Path:
        """A row a trial."""
        return self.path / "results.csv"

    @property
    def report(self) -> Path:
        """The page about the sweep."""
        return self.path / "report.html"

    @property
    def best(self) -> Path:
        """A link to the best trial's folder."""
        return self.path / "best"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's logs, with the hyperparameters."""
        return self.path / "tensorboard"

    @property
    def exists(self) -> bool:
        """There is a sweep in the folder."""
        return self._settings.is_file()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What is searched, and how.

        Raises:
            UsageError: The file is damaged.
        """
        return _read(self._settings, self._settings.read_text("utf-8"))

    def run(self, trial: str) -> Run:
        """The run of a trial."""
        return Run(self.path / "trials" / trial)

    def log(self, trial: str) -> Path:
        """What the trial's process printed."""
        return self.path / "logs" / f"{trial}.txt"

    def fail(self, trial: str, reason: str) -> None:
        """Says in a trial's log, last, why it has no result."""
        with self.log(trial).open("a", encoding="utf-8") as log:
            log.write(f"error: {reason}\n")

    def reason(self, trial: str) -> str:
        """Why a trial has no result, where it has none."""
        return next(lines_of(self.log(trial)), "").removeprefix("error: ")

    def recipe(self, trial: str) -> Path:
        """The recipe that the trial's process reads."""
        return self.path / "logs" / f"{trial}.json"

    def begin(self, settings: dict[str, Any], *, resume: bool) -> None:
        """Makes the folder, or checks that it holds this very sweep.

        Raises:
            UsageError: It holds something else.
        """
        settings = json.loads(json.dumps(settings))  # as it will be read
        if self.exists:
            if not resume:
                raise UsageError(
                    f"output folder must be new, got {self.path} with a sweep in it; "
                    "continue it with --resume or choose another --out"
                )
            self._require(settings)
        elif self.path.exists() and (
            not self.path.is_dir() or any(self.path.iterdir())
        ):
            raise UsageError(
                f"output folder must be new, got {self.path} with something else in it;"
                " choose another --out"
            )
        with written_to(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            if not self.exists:
                write_json(self._settings, settings)
            for name in ("trials", "logs"):
                (self.path / name).mkdir(exist_ok=True)

    def _require(self, settings: dict[str, Any]) -> None:
        for part, stored in self.settings.items():
            name, before, now = _difference(part, stored, settings.get(part))
            if before != now:
                raise UsageError(
                    f"a sweep must be resumed with the same {name}, {_told(before)}; "
                    f"got {_told(now)}; leave the option away or choose another --out"
                )

    def events(self) -> list[Event]:
        """The journal so far; a line that was cut off by a crash is no line."""
        if not self._journal.is_file():
            return []
        *lines, _ = self._journal.read_text("utf-8").split("\n")
        return [_read(self._journal, line) for line in lines]

    def note(self, event: Event) -> None:
        """Adds a line to the journal; it is on the disk when this returns."""
        with written_to(self.path), self._journal.open("a+b") as file:
            whole = _whole_lines(self._journal)
            file.truncate(whole)
            file.write(json.dumps(event).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if whole == 0:
            flush(self.path)

    def rows(self) -> list[Row]:
        """The results: a row for each trial, in the order they began."""
        begun = {e["trial"]: e for e in self.events() if e["event"] == "begun"}
        ended = {e["trial"]: e for e in self.events() if e["event"] == "ended"}
        return [
            self._row(name, event["values"], ended.get(name))
            for name, event in begun.items()
        ]

    def _row(self, trial: str, values: dict[str, Any], end: Event | None) -> Row:
        run = self.run(trial)
        status = "running" if end is None else end["status"].lower()
        row: Row = {"trial": trial, "status": status}
        row |= dict.fromkeys(self.settings["fields"], "")
        row |= {n: v for n, v in values.items() if not n.startswith("tuner/")}
        row |= dict.fromkeys((*RESULTS, *EXTRA), "")
        if run.exists:
            model = run.config["model"]
            solved = [n for n in self.settings["fields"] if n in model["overrides"]]
            row |= {n: model["overrides"][n] for n in solved}
            row |= {"params": model["params"], "macs": model["macs"]}
            row |= {"off_target": self._off_target(row)} | last_epoch(run)
        if status == "completed":
            row["top1"] = run.evaluated["top1"]
        if end is not None:
            row["reason"] = end["reason"]
        return row

    def _off_target(self, row: Row) -> float | str:
        """How much more a network costs than the one it is to match, as a share."""
        if self.settings["target"] is None:
            return ""
        kind, target = self.settings["target"]
        return float(round(row[kind] / target - 1, 4))

    def write_results(self) -> None:
        """Writes ``results.csv`` and the link ``best``."""
        rows = self.rows()
        columns = ["trial", "status", *self.settings["fields"], *RESULTS, *EXTRA]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with written_to(self.path):
            write_atomically(self.results, lambda p: p.write_text(text.getvalue()))
            best = best_of(rows)
            if best is not None:
                fresh = self.path / ".best"
                fresh.unlink(missing_ok=True)
                fresh.symlink_to(Path("trials") / best["trial"])
                fresh.replace(self.best)


def _read(path: Path, text: str) -> dict[str, Any]:
    """Reads a JSON object of a file of a sweep.

    Raises:
        UsageError: It is none.
    """
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError):
        raise UsageError(
            f"{path} must be as the sweep wrote it, got {text[:80]!r}; repair it or "
            "begin another sweep"
        ) from None


def _difference(name: str, before: Any, now: Any) -> tuple[str, Any, Any]:
    """What differs first in a part of the settings: its name and both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before | now:
            if before.get(key) != now.get(key):
                return key, before.get(key), now.get(key)
    return name, before, now


def _told(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def best_of(rows: list[Row]) -> Row | None:
    """The completed trial of the highest val_top1; None: there is none yet."""
    done = [row for row in rows if row["status"] == "completed"]
    return max(done, key=lambda row: row["val_top1"], default=None)


def last_epoch(run: Run) -> Row:
    """What the epochs so far came to; empty before the first has ended."""
    epochs = run.epochs
    if not epochs:
        return {}
    last = epochs[-1]
    return {
        "seconds": round(sum(epoch["seconds"] for epoch in epochs), 1),
        "val_top1": last["val_top1"],
        "train_top1": last["top1"],
        "epochs": len(epochs),
    }


def _whole_lines(path: Path) -> int:
    """How many bytes of a file end with a line's end."""
    return path.read_bytes().rfind(b"\n") + 1


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a text that are not empty, the last first."""
    if path.is_file():
        text = path.read_text("utf-8", errors="replace")
        yield from (line for line in reversed(text.splitlines()) if line.strip())
