"""Measures how long training waits for its data."""

import time
from collections.abc import Iterable, Iterator
from typing import Any


class Waiting:
    """Measures the share of an epoch's time that its steps wait for batches.

    The first step of an epoch is excluded: reading starts with it, and the session's
    first step compiles.
    """

    def __init__(self) -> None:
        self._waited = self._worked = 0.0

    @property
    def share(self) -> float:
        """Share of waiting, from 0 to 1; 0 before the second step."""
        return self._waited / max(self._waited + self._worked, 1e-9)

    def of(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yields the batches; the time until the next request counts as work."""
        iterator, first = iter(batches), True
        while True:
            asked = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            given = time.perf_counter()
            yield batch
            if not first:
                self._waited += given - asked
                self._worked += time.perf_counter() - given
            first = False
