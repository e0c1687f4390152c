"""The callbacks of a run: its files that follow from a checkpoint.

Each brings its file in line when training begins, so that what an interruption left
behind is neither lost nor there twice, and adds to it after each epoch.
"""

import csv
import io
import shutil
import sys
from collections.abc import Sequence

import keras
import tensorflow as tf

from training.progress import Logs, Progress
from training.runs import Run, save_model, write_atomically


class _Follower(keras.callbacks.Callback):
    """Writes into a run's folder what its progress says.

    Args:
        run: The folder.
        progress: Of the checkpoint.
    """

    def __init__(self, run: Run, progress: Progress) -> None:
        super().__init__()
        self._run = run
        self._progress = progress


class BestModel(_Follower):
    """``best.keras``, the network whenever ``val_top1`` is higher than ever before."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Writes it where the last session was ended before it could."""
        if self._progress.step == 0 and self._progress.epoch > 0:
            self.on_epoch_end(self._progress.epoch - 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Compares, and saves."""
        if self._progress.best_epoch == epoch:
            save_model(self.model, self._run.best_model)


class History(_Follower):
    """``history.csv``, a row an epoch."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Writes the rows of all epochs done."""
        rows = [{"epoch": i} | row for i, row in enumerate(self._progress.history)]
        text = io.StringIO()
        if rows:
            columns = ["epoch", *sorted(rows[0].keys() - {"epoch"})]
            writer = csv.DictWriter(text, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        write_atomically(
            self._run.history, lambda path: path.write_text(text.getvalue(), "utf-8")
        )

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Adds a row."""
        self.on_train_begin()


class Scalars(_Follower):
    """TensorBoard's curves, under the names that Keras gives them."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Writes the curves of all epochs done anew."""
        self._writers = {}
        for name in ("train", "validation"):
            folder = self._run.tensorboard / name
            shutil.rmtree(folder, ignore_errors=True)
            self._writers[name] = tf.summary.create_file_writer(str(folder))
        for epoch, row in enumerate(self._progress.history):
            self.on_epoch_end(epoch, row)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Adds a point to each curve."""
        for name, value in (logs or {}).items():
            writer = "validation" if name.startswith("val_") else "train"
            with self._writers[writer].as_default():
                tf.summary.scalar(f"epoch_{name.removeprefix('val_')}", value, epoch)
        for written in self._writers.values():
            written.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Closes the files."""
        for writer in self._writers.values():
            writer.close()


def callback_list(
    run: Run,
    model: keras.Model,
    progress: Progress,
    *,
    epochs: int,
    steps: int,
    extra: Sequence[keras.callbacks.Callback] = (),
) -> keras.callbacks.CallbackList:
    """Returns the best model's keeper, CSV history, TensorBoard and progress bar.

    Args:
        run: Where they write.
        model: The network.
        progress: Where the run stands.
        epochs: Of the whole run.
        steps: Per epoch.
        extra: What else is called.
    """
    return keras.callbacks.CallbackList(
        [*(f(run, progress) for f in (History, Scalars, BestModel)), *extra],
        add_progbar=True,
        model=model,
        # A bar where it can be redrawn, a line an epoch in a file or pipe.
        verbose=1 if sys.stdout.isatty() else 2,
        epochs=epochs,
        steps=steps,
    )
