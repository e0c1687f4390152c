"""Shows the progress of training: a bar during an epoch and a line after it."""

import sys
import time

import keras
from tqdm import tqdm

from training.distributed.backend import backend
from training.engine.progress import Progress
from training.evaluation.predictions import Logs
from training.optimisation.optimizers import last_rate

# A warning is printed if waiting for data takes more than this share of an epoch's time
# and more than these seconds, since very short runs need no warning.
WAITING_SHARE = 0.2
WAITING_SECONDS = 1.0


class Display(keras.callbacks.Callback):
    """Prints the progress of training and the time left.

    In a terminal, a bar shows the current epoch. A warning names the input pipeline if
    the device waits for it.

    Args:
        progress: The run's position.
        images: Number of images in an epoch.
    """

    def __init__(self, progress: Progress, images: int) -> None:
        super().__init__()
        self._progress = progress
        self._images = images
        self._seconds: list[float] = []  # durations of this session's epochs

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Draws a bar, which starts where an interrupted epoch stopped."""
        self._began = time.monotonic()
        left = self._left(epoch)
        self._bar = tqdm(
            total=self._images,
            initial=int(self._progress.sums[-1]) if self._progress.sums else 0,
            desc=f"epoch {epoch + 1}/{self.params['epochs']}{left and f', {left}'}",
            unit=" images",
            file=sys.stdout,
            disable=None,
            leave=False,
            dynamic_ncols=True,
        )

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Advances the bar."""
        logs = logs or {}
        if self._bar.update(int(logs["examples"]) - self._bar.n):  # it was redrawn
            steps = self._progress.epoch * self.params["steps"] + batch + 1
            rate = last_rate(self.model.optimizer, steps)
            text = f"{_figures(logs)}, lr {rate:.3g}, {backend.peak_memory():.1f} GiB"
            self._bar.set_postfix_str(text, refresh=False)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Replaces the bar with the epoch's line."""
        logs = logs or {}
        self._bar.close()
        self._seconds.append(time.monotonic() - self._began)
        parts = [
            f"epoch {epoch + 1}/{self.params['epochs']}: {_figures(logs)}",
            f"lr {logs['learning_rate']:.3g}",
            f"{logs['images_per_second']:,.0f} images/s",
            f"{logs['memory_gib']:.1f} GiB",
            self._left(epoch + 1),
        ]
        print(", ".join(filter(None, parts)), flush=True)
        waited = logs["waiting"] * logs["seconds"]
        if logs["waiting"] > WAITING_SHARE and waited > WAITING_SECONDS:
            print(
                f"warning: {logs['waiting']:.0%} of epoch {epoch + 1} was spent "
                "waiting for images: the input pipeline, not the device, is the "
                "bottleneck; --cache decoded takes load off it; see docs/train.md, "
                '"Watching a run"',
                file=sys.stderr,
            )

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Removes the bar of an interrupted epoch."""
        if hasattr(self, "_bar"):
            self._bar.close()

    def _left(self, epoch: int) -> str:
        """Estimates the time for all epochs from this one on, by the mean so far."""
        epochs = self.params["epochs"] - epoch
        if not self._seconds or not epochs:
            return ""
        mean = sum(self._seconds) / len(self._seconds)
        return f"{tqdm.format_interval(mean * epochs)} left"


def _figures(logs: Logs) -> str:
    names = ("loss", "top1", "val_loss", "val_top1")
    return ", ".join(f"{name} {logs[name]:.4f}" for name in names if name in logs)
