"""Reads and writes the folder of a sweep: its settings, its journal and its trials.

The journal stores the state of the sweep: one line for each trial begun or ended, on
disk before anything depends on it. It and the runs suffice to rebuild everything else.
"""

import json
import os
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
        """The table with one row per trial."""
        return self.path / "results.csv"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def exists(self) -> bool:
        """Whether the folder contains a sweep."""
        return self._settings.is_file()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The options of the search and the recipe.

        Raises:
            UsageError: The file is damaged.
        """
        return _read(self._settings, self._settings.read_text("utf-8"))

    @property
    def former(self) -> bool:
        """Whether an older version, with its own networks, began the sweep."""
        return self.exists and "prefix" not in self.settings

    def name(self, number: str) -> str:
        """Returns the name of keras-tuner's trial ``number``.

        The name begins with a letter, so that readers of ``results.csv`` treat it as
        text and keep its zeros. In sweeps of older versions it is the plain number.
        """
        return self.settings.get("prefix", "") + number

    def run(self, trial: str) -> Run:
        """Returns the run of a trial."""
        return Run(self.path / "trials" / trial)

    def log(self, trial: str) -> Path:
        """Returns the file with the output of a trial's process."""
        return self.path / "logs" / f"{trial}.txt"

    def fail(self, trial: str, reason: str) -> None:
        """Appends the reason why a trial has no result to its log."""
        with self.log(trial).open("a", encoding="utf-8") as log:
            log.write(f"error: {reason}\n")

    def reason(self, trial: str) -> str:
        """Returns the reason why a trial has no result: its log's last line."""
        return last_line(self.log(trial)).removeprefix("error: ")

    def recipe(self, trial: str) -> Path:
        """Returns the recipe file that a trial's process reads."""
        return self.path / "logs" / f"{trial}.json"

    def begin(self, settings: dict[str, Any], *, resume: bool) -> None:
        """Creates the folder, or checks whether it contains this same sweep.

        Raises:
            UsageError: It contains something else, or a sweep without ``resume``.
        """
        settings = json.loads(json.dumps(settings))  # as JSON returns it
        if self.exists:
            if not resume:
                raise output_exists_error(self.path, "a sweep")
            self._require_same(settings)
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

    def move_data(self, place: str) -> None:
        """Stores the new location of the data set."""
        self.settings["dataset"]["place"] = place
        with report_write_errors(self.path):
            write_json(self._settings, self.settings)

    def _require_same(self, settings: dict[str, Any]) -> None:
        defaults = json.loads(json.dumps(Recipe().to_dict()))
        # data.require_same_data compares the data sets.
        stored = {n: v for n, v in self.settings.items() if n != "dataset"}
        if "recipe" in stored:  # fields added since then had their defaults
            now = settings["recipe"]
            recipe = {name: defaults[name] for name in now} | stored["recipe"]
            stored["recipe"] = recipe | {"dataset": now.get("dataset")}
        for part, value in stored.items():
            name, before, now = _first_difference(part, value, settings.get(part))
            if before != now:
                raise UsageError(
                    f"a sweep must be resumed with the same {name} "
                    f"({_format(before)}), got {_format(now)}; omit the option or "
                    "choose another --out"
                )

    def events(self) -> list[Event]:
        """Returns the journal's events; ignores a line that a crash cut off."""
        if not self._journal.is_file():
            return []
        *lines, _ = self._journal.read_text("utf-8").split("\n")
        return [_read(self._journal, line) for line in lines]

    def append(self, event: Event) -> None:
        """Appends an event to the journal and syncs it to disk."""
        with report_write_errors(self.path), self._journal.open("a+b") as file:
            whole = self._journal.read_bytes().rfind(b"\n") + 1
            file.truncate(whole)  # a line that a crash cut off
            file.write(json.dumps(event).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if whole == 0:
            flush(self.path)


def _read(path: Path, text: str) -> dict[str, Any]:
    """Parses a JSON object from a file of a sweep.

    Raises:
        UsageError: The text is not a JSON object.
    """
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError):
        raise UsageError(
            f"{path} must contain the JSON that the sweep wrote, got {text[:80]!r}; "
            "repair the file or start another sweep"
        ) from None


def _first_difference(name: str, before: Any, now: Any) -> tuple[str, Any, Any]:
    """Returns the name and both values of the first difference in the settings."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before | now:
            if before.get(key) != now.get(key):
                return key, before.get(key), now.get(key)
    return name, before, now


def _format(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def last_line(path: Path) -> str:
    """Returns the last line of a file that is not blank; empty: there is none."""
    text = path.read_text("utf-8", errors="replace") if path.is_file() else ""
    return ["", *filter(str.strip, text.splitlines())][-1]
