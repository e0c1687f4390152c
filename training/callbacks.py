"""The callbacks of a run: Keras' own, and the best model kept."""

import csv
import sys
from collections.abc import Sequence

import keras

from training.checkpoint import Checkpoints
from training.runs import Run, save_model, write_atomically


class BestModel(keras.callbacks.Callback):
    """Saves the network whenever ``val_top1`` is higher than ever before.

    Args:
        run: Its ``best.keras`` is written.
        checkpoints: Hold the highest value, so that it outlives an interruption.
    """

    def __init__(self, run: Run, checkpoints: Checkpoints) -> None:
        super().__init__()
        self._run = run
        self._best = checkpoints.best

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Compares, and saves."""
        top1 = (logs or {})["val_top1"]
        if top1 > float(self._best):
            self._best.assign(top1)
            save_model(self.model, self._run.best_model)


def callback_list(
    run: Run,
    model: keras.Model,
    checkpoints: Checkpoints,
    *,
    epochs: int,
    steps: int,
    extra: Sequence[keras.callbacks.Callback] = (),
) -> keras.callbacks.CallbackList:
    """Returns the best model's keeper, CSV history, TensorBoard and progress bar.

    Args:
        run: Where they write.
        model: The network.
        checkpoints: Where the run stands.
        epochs: Of the whole run.
        steps: Per epoch.
        extra: What else is called.
    """
    _forget_from(run, int(checkpoints.epoch))
    return keras.callbacks.CallbackList(
        [
            BestModel(run, checkpoints),
            keras.callbacks.CSVLogger(str(run.history), append=True),
            keras.callbacks.TensorBoard(str(run.tensorboard), write_graph=False),
            *extra,
        ],
        add_progbar=True,
        model=model,
        # A bar where it can be redrawn, a line an epoch in a file or pipe.
        verbose=1 if sys.stdout.isatty() else 2,
        epochs=epochs,
        steps=steps,
    )


def _forget_from(run: Run, epoch: int) -> None:
    """Drops the history's rows of epochs that will be trained again."""
    if not run.history.is_file():
        return
    with run.history.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    kept = [row for row in rows if int(row[header.index("epoch")]) < epoch]
    lines = "".join(",".join(row) + "\n" for row in ([header, *kept] if kept else []))
    write_atomically(run.history, lambda path: path.write_text(lines, "utf-8"))
