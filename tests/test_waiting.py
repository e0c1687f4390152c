"""The share of time that training waits for data."""

from collections.abc import Iterator

import pytest

from training.engine.waiting import DataWaitTimer


class Clock:
    """A clock that moves only when something takes time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def batches(self, first: float, others: float, count: int = 5) -> Iterator[int]:
        for i in range(count):
            self.now += others if i else first
            yield i


@pytest.mark.parametrize(("reading", "working"), [(3.0, 1.0), (1.0, 3.0)])
def test_share_is_of_the_time_after_the_first_step(
    reading: float, working: float
) -> None:
    clock, seen = Clock(), []
    waiting = DataWaitTimer(clock)
    for batch in waiting.iterate(clock.batches(20.0, reading)):
        seen.append(batch)
        clock.now += working if batch else 20.0
    assert seen == [0, 1, 2, 3, 4]
    assert waiting.share == pytest.approx(reading / (reading + working))


def test_one_step_or_none_has_no_share() -> None:
    clock = Clock()
    waiting = DataWaitTimer(clock)
    assert list(waiting.iterate(clock.batches(1.0, 1.0, count=1))) == [0]
    assert list(waiting.iterate([])) == []
    assert waiting.share == 0


@pytest.mark.parametrize(("blocked", "share"), [(0.0, 0.75), (2.0, 0.0)])
def test_a_device_that_is_behind_does_not_wait(blocked: float, share: float) -> None:
    """A read that takes time shows that the device was busy meanwhile."""
    clock = Clock()
    waiting = DataWaitTimer(clock)

    def read() -> str:
        clock.now += blocked
        return "results"

    for batch in waiting.iterate(clock.batches(20.0, 3.0, count=9)):
        clock.now += 1.0
        if batch % 4 == 0:
            assert waiting.read(read) == "results"
    assert waiting.share == pytest.approx(share)
