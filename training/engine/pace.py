"""Determines how often the loop waits for the device."""

import time
from collections.abc import Callable

SECONDS = 0.25  # between two reads of results, if steps are shorter
MOST_STEPS = 16  # steps between two reads, which bounds the batches on the device


class Pace:
    """Counts steps and determines when their results are to be read.

    Between two reads, the device computes without waiting for Python. Steps are counted
    instead of time, so that several workers, which must agree, read at the same steps.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._since = clock()
        self._taken, self.steps = 0, 1

    def count_step(self) -> bool:
        """Counts a step and returns whether to read results after it."""
        self._taken += 1
        return self._taken >= self.steps

    def proposed(self) -> int:
        """Returns the number of steps until the next read, from the pace so far."""
        each = (self._clock() - self._since) / max(self._taken, 1)
        return int(min(max(SECONDS / max(each, 1e-9), 1), MOST_STEPS))

    def restart(self, steps: int) -> None:
        """Starts a new count, of ``steps`` steps."""
        self._since, self._taken, self.steps = self._clock(), 0, steps
