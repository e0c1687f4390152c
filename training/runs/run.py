"""The folder of a run: what is in it."""

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
    """A run's folder.

    Attributes:
        path: The folder.
    """

    path: Path

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """Returns the run in a folder.

        Raises:
            UsageError: There is none.
        """
        run = cls(Path(path))
        if not run.exists:
            raise UsageError(
                f"run folder must hold a config.json, got {str(path)!r}; "
                "train one with python -m training.fit --out RUN"
            )
        try:
            run.recipe  # noqa: B018 - reads and checks it
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{run._config} must be a run's config, got {type(error).__name__}: "
                f"{error}"
            ) from None
        return run

    @property
    def exists(self) -> bool:
        """There is a run in the folder."""
        return self._config.is_file()

    @property
    def complete(self) -> bool:
        """The run was trained to its end and evaluated."""
        return self.model.is_file() and self.evaluation.is_file()

    @property
    def _config(self) -> Path:
        return self.path / "config.json"

    @property
    def model(self) -> Path:
        """The trained network, as it was after the last epoch."""
        return self.path / "model.keras"

    @property
    def best_model(self) -> Path:
        """The network as it was after the epoch with the highest val_top1."""
        return self.path / "best.keras"

    @property
    def history(self) -> Path:
        """A row an epoch."""
        return self.path / "history.csv"

    @property
    def epochs(self) -> list[dict[str, float]]:
        """The rows of ``history`` so far, NaN where an epoch lacks the number."""
        if not self.history.is_file():
            return []
        with self.history.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [{n: float(v or math.nan) for n, v in row.items()} for row in rows]

    @property
    def evaluation(self) -> Path:
        """What the trained network reaches on the test split."""
        return self.path / "evaluation.json"

    @property
    def assessment(self) -> Path:
        """The same class by class, with its calibration and its worst mistakes."""
        return self.path / "assessment.json"

    @property
    def checkpoints(self) -> Path:
        """The training state, for resuming."""
        return self.path / "checkpoints"

    @property
    def lock(self) -> Path:
        """Held by the process that trains the run."""
        return self.checkpoints / "lock"

    @property
    def merely_locked(self) -> bool:
        """The folder is empty, or was left by a process that had only locked it."""
        if not self.path.is_dir():
            return False
        inside = [*self.path.iterdir(), *self.checkpoints.glob("*")]
        drafts = ".config-"  # write_atomically's
        return all(
            path in (self.checkpoints, self.lock) or path.name.startswith(drafts)
            for path in inside
        )

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's logs."""
        return self.path / "tensorboard"

    @property
    def report(self) -> Path:
        """The page about the run."""
        return self.path / "report.html"

    @property
    def config(self) -> dict[str, Any]:
        """Everything needed to repeat the run."""
        stored = json.loads(self._config.read_text(encoding="utf-8"))
        return dict(as_trained(stored))

    @property
    def recipe(self) -> Recipe:
        """Its hyperparameters."""
        return Recipe.from_dict(self.config["recipe"])

    @property
    def evaluated(self) -> dict[str, Any]:
        """What the trained network reached on the test split."""
        return dict(json.loads(self.evaluation.read_text(encoding="utf-8")))

    @property
    def artifacts(self) -> dict[str, Any]:
        """What ``export.verify`` found about exported artifacts, by path."""
        file = self.path / "artifacts.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    def create(self, config: dict[str, Any]) -> None:
        """Makes the folder and writes the config."""
        with report_write_errors(self.path):
            make_folder(self.path)
            write_json(self._config, config)

    def require_complete(self) -> None:
        """Checks that training has ended.

        Raises:
            UsageError: It has not.
        """
        if not self.complete:
            raise UsageError(
                f"run must be complete, got {self.path} in the middle of training; "
                f"continue it with python -m training.fit --resume --out {self.path}"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training in the folder inside the ``with``.

        The lock is the system's: it ends with the process, however that ends.

        Raises:
            UsageError: Another process holds it.
        """
        with report_write_errors(self.path):
            make_folder(self.checkpoints)
        with exclusive_lock(self.lock, "a run must be trained", self.path):
            yield
