"""Measures how long training waits for its data."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class DataWaitTimer:
    """Measures the share of an epoch's time that its steps wait for batches.

    The first step of an epoch is excluded: reading starts with it, and the session's
    first step compiles.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._waited = self._worked = 0.0

    @property
    def share(self) -> float:
        """Share of waiting, from 0 to 1; 0 before the second step."""
        return self._waited / max(self._waited + self._worked, 1e-9)

    def iterate(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yields the batches; the time until the next request counts as work."""
        iterator, first = iter(batches), True
        while True:
            asked = self._clock()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            given = self._clock()
            yield batch
            if not first:
                self._waited += given - asked
                self._worked += self._clock() - given
            first = False
