"""Determines when a run saves checkpoints and how many it keeps."""

import time
from dataclasses import dataclass
from typing import Annotated

from training.recipes.checks import Range, check_ranges


@dataclass(frozen=True)
class CheckpointOptions:
    """When checkpoints are saved, in addition to the one after each epoch."""

    checkpoint_minutes: Annotated[float, Range(0)] = 10.0
    """Minutes of training after which a checkpoint is saved; 0: no time limit."""
    checkpoint_steps: Annotated[int | None, Range(1)] = None
    """Number of steps after which a checkpoint is saved; None: no step limit."""
    keep: Annotated[int, Range(1)] = 2
    """Number of checkpoints to keep; with 2 or more, a run survives a damaged one."""

    def __post_init__(self) -> None:
        check_ranges(self)


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

    def count_step(self) -> bool:
        """Counts a step and returns whether a checkpoint is due after it."""
        self._steps += 1
        minutes = (time.monotonic() - self._since) / 60
        by_time = 0 < self._saving.checkpoint_minutes <= minutes
        return by_time or self._steps == self._saving.checkpoint_steps
