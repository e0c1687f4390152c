"""The share of time that training waits for data."""

import time
from collections.abc import Iterator

import pytest

from training.engine.waiting import Waiting


def slow(first: float, others: float, count: int = 5) -> Iterator[int]:
    for i in range(count):
        time.sleep(others if i else first)
        yield i


@pytest.mark.parametrize(
    ("reading", "working", "low", "high"),
    [(0.03, 0.01, 0.6, 0.9), (0.01, 0.03, 0.1, 0.4)],
)
def test_share_is_of_the_time_after_the_first_step(
    reading: float, working: float, low: float, high: float
) -> None:
    waiting, seen = Waiting(), []
    for batch in waiting.of(slow(0.2, reading)):
        seen.append(batch)
        time.sleep(working if batch else 0.2)
    assert seen == [0, 1, 2, 3, 4]
    assert low < waiting.share < high


def test_one_step_or_none_has_no_share() -> None:
    waiting = Waiting()
    assert list(waiting.of(slow(0.01, 0.01, count=1))) == [0]
    assert list(waiting.of([])) == []
    assert waiting.share == 0
