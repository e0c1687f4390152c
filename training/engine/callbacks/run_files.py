"""Keeps the files of a run consistent with its checkpoints.

Each callback brings its file up to date when training begins, so that an interruption
neither loses nor duplicates entries, and updates it after each epoch.
"""

import keras

from training.engine.progress import Progress
from training.evaluation.predictions import Logs
from training.runs.model_file import save_model
from training.runs.run import Run
from training.storage.writing import write_csv


class RunFilesCallback(keras.callbacks.Callback):
    """Base class of callbacks that write files derived from a run's position.

    Args:
        run: The run's folder.
        progress: The position of the checkpoint.
    """

    def __init__(self, run: Run, progress: Progress) -> None:
        super().__init__()
        self._run = run
        self._progress = progress


class BestModel(RunFilesCallback):
    """Saves ``best.keras`` whenever ``val_top1`` is higher than ever before."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Saves the model if the last session ended before it could."""
        if self._progress.step == 0 and self._progress.epoch > 0:
            self.on_epoch_end(self._progress.epoch - 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Saves the model if this epoch is the best."""
        if self._progress.best_epoch == epoch:
            save_model(self.model, self._run.best_model)


class History(RunFilesCallback):
    """Writes ``history.csv``, one row per epoch."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Writes the rows of all finished epochs."""
        rows = [{"epoch": i} | row for i, row in enumerate(self._progress.history)]
        # Older versions may have recorded fewer columns.
        names = set().union(*rows) - {"epoch"}
        write_csv(self._run.history, rows, ["epoch", *sorted(names)] if rows else [])

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Adds a row."""
        self.on_train_begin()
