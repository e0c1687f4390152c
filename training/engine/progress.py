"""Records the position of a run and the logs of its epochs."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from training.evaluation.predictions import Logs

# Logs of an epoch that depend on the clock or the machine, not on the seed.
TIMED = ("seconds", "images_per_second", "waiting", "memory_gib")


@dataclass
class Progress:
    """The position of a run, from which its other files follow.

    Attributes:
        history: Logs of every finished epoch.
        step: Number of finished steps in the current epoch.
        sums: Sums of the training metrics in the current epoch.
        seconds: Time spent on the steps of the current epoch, over all sessions.
    """

    history: list[Logs] = field(default_factory=list)
    step: int = 0
    sums: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def epoch(self) -> int:
        """Index of the current epoch, from 0."""
        return len(self.history)

    @property
    def best_epoch(self) -> int | None:
        """First epoch with the highest ``val_top1``; None before the first ends."""
        reached = [logs["val_top1"] for logs in self.history]
        return reached.index(max(reached)) if reached else None

    def end_epoch(self, logs: Logs) -> None:
        """Stores the logs of the current epoch and moves on to the next one."""
        self.history.append(logs)
        self.step, self.sums, self.seconds = 0, [], 0.0

    def replace(self, other: "Progress") -> None:
        """Copies the position of another object."""
        self.__dict__.update(other.__dict__)

    def to_json(self) -> str:
        """Returns the position as text that restores every float exactly."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Progress":
        """Creates an object from the text of ``to_json``."""
        values: dict[str, Any] = json.loads(text)
        return cls(**values)
