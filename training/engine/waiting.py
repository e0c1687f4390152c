"""Measures how long training waits for its data."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

# If reading results blocks for more than this share of the time since the last read,
# the device was behind, and waiting for data did not delay it.
BEHIND = 0.05


class DataWaitTimer:
    """Measures the share of an epoch's time that its steps wait for batches.

    The first step of an epoch is excluded: reading starts with it, and the session's
    first step compiles. A device that computes while the next batch is awaited is not
    kept waiting; whether it did shows in the next read of its results.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._waited = self._time = 0.0  # until the last read
        self._read = False
        self._awaited = self._blocked = self._since_read = 0.0

    @property
    def share(self) -> float:
        """Share of waiting, from 0 to 1; 0 before the second step."""
        waited = self._waited + self._device_waited()
        return waited / max(self._time + self._since_read, 1e-9)

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
            if first:
                first = False
                self._restart()
                continue
            self._awaited += given - asked
            self._since_read += self._clock() - asked
            if self._read:
                self._waited += self._device_waited()
                self._time += self._since_read
                self._restart()

    def read(self, results: Callable[[], T]) -> T:
        """Returns ``results()``, which waits for the device."""
        began = self._clock()
        found = results()
        self._blocked += self._clock() - began
        self._read = True
        return found

    def _restart(self) -> None:
        self._read = False
        self._awaited = self._blocked = self._since_read = 0.0

    def _device_waited(self) -> float:
        """Returns the seconds since the last read for which the device waited."""
        behind = self._blocked > BEHIND * self._since_read
        return 0.0 if behind else self._awaited
