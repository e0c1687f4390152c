"""Defines ``Run``, which reads and writes the folder of a run."""

import csv
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_resnet.errors import UsageError
from training.recipes.recipe import Recipe, as_trained
from training.storage.lock import exclusive_lock
from training.storage.writing import make_folder, report_write_errors, write_json


@dataclass(frozen=True)
class Run:
    """The folder of a run.

    Attributes:
        path: The folder.
    """

    path: Path

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """Returns the run in a folder.

        Raises:
            UsageError: The folder has no run, or its config is invalid.
        """
        run = cls(Path(path))
        if not run.exists:
            raise UsageError(
                f"run folder must hold a config.json, got {str(path)!r}; "
                "train one with python -m training.fit --out RUN"
            )
        try:
            run.recipe  # noqa: B018 - reads and validates the config
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{run._config} must be a run's config, got {type(error).__name__}: "
                f"{error}"
            ) from None
        return run

    @property
    def exists(self) -> bool:
        """Whether the folder contains a run."""
        return self._config.is_file()

    @property
    def complete(self) -> bool:
        """Whether training and evaluation have finished."""
        return self.model.is_file() and self.evaluation.is_file()

    @property
    def _config(self) -> Path:
        return self.path / "config.json"

    @property
    def model(self) -> Path:
        """Path of the model after the last epoch."""
        return self.path / "model.keras"

    @property
    def best_model(self) -> Path:
        """Path of the model after the epoch with the highest val_top1."""
        return self.path / "best.keras"

    @property
    def history(self) -> Path:
        """Path of the CSV file with one row per epoch."""
        return self.path / "history.csv"

    @property
    def epochs(self) -> list[dict[str, float]]:
        """The rows of ``history`` so far; missing numbers are NaN."""
        if not self.history.is_file():
            return []
        with self.history.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [{n: float(v or math.nan) for n, v in row.items()} for row in rows]

    @property
    def evaluation(self) -> Path:
        """Path of the model's results on the test split."""
        return self.path / "evaluation.json"

    @property
    def assessment(self) -> Path:
        """Path of the results per class, the calibration and the worst mistakes."""
        return self.path / "assessment.json"

    @property
    def checkpoints(self) -> Path:
        """Path of the folder with the training state, for resuming."""
        return self.path / "checkpoints"

    @property
    def lock(self) -> Path:
        """Path of the lock file that the training process holds."""
        return self.checkpoints / "lock"

    @property
    def merely_locked(self) -> bool:
        """Whether the folder is empty or contains only a lock or a config's draft."""
        if not self.path.is_dir():
            return False
        inside = [*self.path.iterdir(), *self.checkpoints.glob("*")]
        drafts = ".config-"  # prefix of write_atomically's temporary files
        return all(
            path in (self.checkpoints, self.lock) or path.name.startswith(drafts)
            for path in inside
        )

    @property
    def tensorboard(self) -> Path:
        """Path of the TensorBoard logs."""
        return self.path / "tensorboard"

    @property
    def report(self) -> Path:
        """Path of the HTML report."""
        return self.path / "report.html"

    @property
    def config(self) -> dict[str, Any]:
        """The contents of ``config.json``: everything needed to repeat the run."""
        stored = json.loads(self._config.read_text(encoding="utf-8"))
        return dict(as_trained(stored))

    @property
    def recipe(self) -> Recipe:
        """The hyperparameters of the run."""
        return Recipe.from_dict(self.config["recipe"])

    @property
    def evaluated(self) -> dict[str, Any]:
        """The contents of ``evaluation``."""
        return dict(json.loads(self.evaluation.read_text(encoding="utf-8")))

    @property
    def artifacts(self) -> dict[str, Any]:
        """Results of ``export.verify`` for exported artifacts, by path."""
        file = self.path / "artifacts.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    def create(self, config: dict[str, Any]) -> None:
        """Creates the folder and writes the config."""
        with report_write_errors(self.path):
            make_folder(self.path)
            write_json(self._config, config)

    def require_complete(self) -> None:
        """Checks that training has finished.

        Raises:
            UsageError: Training has not finished.
        """
        if not self.complete:
            raise UsageError(
                f"run must be complete, got the unfinished run {self.path}; "
                f"continue it with python -m training.fit --resume --out {self.path}"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder against training by other processes inside the ``with``.

        The operating system releases the lock when the process ends for any reason.

        Raises:
            UsageError: Another process holds the lock.
        """
        with report_write_errors(self.path):
            make_folder(self.checkpoints)
        with exclusive_lock(self.lock, "a run must be trained", self.path):
            yield
