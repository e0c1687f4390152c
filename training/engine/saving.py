"""Determines when a run saves checkpoints and how many it keeps."""

import time
from dataclasses import dataclass

from keras_resnet.errors import UsageError


@dataclass(frozen=True)
class CheckpointOptions:
    """When checkpoints are saved, in addition to the one after each epoch."""

    checkpoint_minutes: float = 10.0
    """Minutes of training after which a checkpoint is saved; 0: no time limit."""
    checkpoint_steps: int | None = None
    """Number of steps after which a checkpoint is saved; None: no step limit."""
    keep: int = 2
    """Number of checkpoints to keep; with 2 or more, a run survives a damaged one."""

    def __post_init__(self) -> None:
        if not 0 <= self.checkpoint_minutes < float("inf"):
            raise UsageError(
                "checkpoint_minutes must be finite and at least 0, got "
                f"{self.checkpoint_minutes}"
            )
        for name in ("checkpoint_steps", "keep"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")


class CheckpointTimer:
    """Determines when the next checkpoint within an epoch is due.

    Args:
        saving: The minutes and steps between two checkpoints.
    """

    def __init__(self, saving: CheckpointOptions) -> None:
        self._saving = saving
        self.restart()

    def restart(self) -> None:
        """Restarts the count after a checkpoint is saved."""
        self._steps, self._since = 0, time.monotonic()

    def step(self) -> bool:
        """Counts a step and returns whether a checkpoint is due after it."""
        self._steps += 1
        minutes = (time.monotonic() - self._since) / 60
        by_time = 0 < self._saving.checkpoint_minutes <= minutes
        return by_time or self._steps == self._saving.checkpoint_steps
