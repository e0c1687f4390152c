"""The callbacks of a run whose files follow from a checkpoint.

Each brings its file in line when training begins, so that what an interruption left
behind is neither lost nor there twice, and adds to it after each epoch.
"""

import csv
import io

import keras

from training.engine.progress import Progress
from training.evaluation.predictions import Logs
from training.runs.model_file import save_model
from training.runs.run import Run
from training.storage.writing import write_atomically


class RunFilesCallback(keras.callbacks.Callback):
    """Writes into a run's folder what its progress says.

    Args:
        run: The folder.
        progress: Of the checkpoint.
    """

    def __init__(self, run: Run, progress: Progress) -> None:
        super().__init__()
        self._run = run
        self._progress = progress


class BestModel(RunFilesCallback):
    """``best.keras``, the network whenever ``val_top1`` is higher than ever before."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Writes it where the last session was ended before it could."""
        if self._progress.step == 0 and self._progress.epoch > 0:
            self.on_epoch_end(self._progress.epoch - 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Compares, and saves."""
        if self._progress.best_epoch == epoch:
            save_model(self.model, self._run.best_model)


class History(RunFilesCallback):
    """``history.csv``, a row an epoch."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Writes the rows of all epochs done."""
        rows = [{"epoch": i} | row for i, row in enumerate(self._progress.history)]
        text = io.StringIO()
        if rows:
            # Epochs of an older version may have recorded less.
            names = set().union(*rows) - {"epoch"}
            columns = ["epoch", *sorted(names)]
            writer = csv.DictWriter(text, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        write_atomically(
            self._run.history, lambda path: path.write_text(text.getvalue(), "utf-8")
        )

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Adds a row."""
        self.on_train_begin()
