"""How often a run saves its state, and how much of it stays."""

import time
from dataclasses import dataclass

from keras_resnet.errors import UsageError


@dataclass(frozen=True)
class CheckpointOptions:
    """When checkpoints are saved, beside the one at each epoch's end."""

    checkpoint_minutes: float = 10.0
    """Minutes of training after which a checkpoint is saved; 0: none for that."""
    checkpoint_steps: int | None = None
    """Steps after which a checkpoint is saved; None: none for that."""
    keep: int = 2
    """Newest checkpoints that stay; from 2 on, one damaged on disk loses no run."""

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
    """Says when the next checkpoint within an epoch is due.

    Args:
        saving: The minutes and steps between two.
    """

    def __init__(self, saving: CheckpointOptions) -> None:
        self._saving = saving
        self.restart()

    def restart(self) -> None:
        """Counts from now, as a checkpoint was saved."""
        self._steps, self._since = 0, time.monotonic()

    def step(self) -> bool:
        """Counts a step; returns whether a checkpoint is due after it."""
        self._steps += 1
        minutes = (time.monotonic() - self._since) / 60
        by_time = 0 < self._saving.checkpoint_minutes <= minutes
        return by_time or self._steps == self._saving.checkpoint_steps
