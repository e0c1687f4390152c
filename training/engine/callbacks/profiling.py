"""Profiles some training steps for TensorBoard."""

import keras
from tqdm import tqdm

from training.distributed.backend import backend
from training.evaluation.predictions import Logs
from training.runs.run import Run

WARMUP = 5  # steps before recording, during which compiling and reading begin


class Profile(keras.callbacks.Callback):
    """Records steps of this session with the backend's profiler.

    Args:
        run: The run whose TensorBoard logs receive the profile.
        steps: Number of steps to record, after the first ``WARMUP`` ones.
    """

    def __init__(self, run: Run, steps: int) -> None:
        super().__init__()
        self._folder = run.tensorboard
        self._steps = steps
        self._seen = 0
        self._recording = False

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Starts recording after the warm-up and marks the step."""
        if self._seen == WARMUP:
            backend.start_profile(str(self._folder))
            self._recording = True
        if self._recording:
            self._mark = backend.profiled_step("train", step_num=self._seen)
            self._mark.__enter__()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Stops recording after the last step."""
        self._seen += 1
        if self._recording:
            self._mark.__exit__(None, None, None)
            if self._seen == WARMUP + self._steps:
                self._stop()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Saves the steps recorded so far if the session has fewer steps."""
        if self._recording:
            self._stop()
        elif self._seen <= WARMUP:
            tqdm.write(
                f"profile: none in {self._seen} steps; it starts after step {WARMUP}"
            )

    def _stop(self) -> None:
        self._recording = False
        backend.stop_profile()
        count = self._seen - WARMUP
        tqdm.write(f"profile: {count} steps in {self._folder}/plugins/profile")
