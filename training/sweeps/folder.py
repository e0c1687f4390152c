"""The folder of a sweep: its plan, its journal and its trials.

The journal is the sweep's memory: a line for each trial begun or ended, on the disk
before anything follows from it. All else can be made again from it and the runs.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from keras_resnet.errors import UsageError
from training.recipes.recipe import Recipe
from training.runs.run import Run
from training.storage.writing import (
    flush,
    make_folder,
    output_exists_error,
    report_write_errors,
    write_json,
)

Event = dict[str, Any]


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

    def name(self, number: str) -> str:
        """Returns the name of keras-tuner's trial of that number.

        It begins with a letter, so that what reads ``results.csv`` takes it for text
        and keeps its zeros; in sweeps of older versions it is the number.
        """
        return self.settings.get("prefix", "") + number

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
                raise output_exists_error(self.path, "a sweep")
            self._require(settings)
        elif self.path.exists() and (
            not self.path.is_dir() or any(self.path.iterdir())
        ):
            raise output_exists_error(self.path, None)
        with report_write_errors(self.path):
            make_folder(self.path)
            if not self.exists:
                write_json(self._settings, settings)
            for name in ("trials", "logs"):
                make_folder(self.path / name)

    def _require(self, settings: dict[str, Any]) -> None:
        defaults = json.loads(json.dumps(Recipe().to_dict()))
        kept = self.settings
        if "recipe" in kept:  # fields that it lacks are younger: they had defaults
            recipe = {name: defaults[name] for name in settings["recipe"]}
            kept = kept | {"recipe": recipe | kept["recipe"]}
        for part, stored in kept.items():
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
        with report_write_errors(self.path), self._journal.open("a+b") as file:
            whole = _whole_lines(self._journal)
            file.truncate(whole)
            file.write(json.dumps(event).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if whole == 0:
            flush(self.path)


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


def _whole_lines(path: Path) -> int:
    """How many bytes of a file end with a line's end."""
    return path.read_bytes().rfind(b"\n") + 1


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a text that are not empty, the last first."""
    if path.is_file():
        text = path.read_text("utf-8", errors="replace")
        yield from (line for line in reversed(text.splitlines()) if line.strip())
