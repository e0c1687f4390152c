"""Where a run stands, beside its weights."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from training.evaluation.predictions import Logs

# Of an epoch's logs, what a clock or the machine decides and not the seed.
TIMED = ("seconds", "images_per_second", "waiting", "memory_gib")


@dataclass
class Progress:
    """Where a run stands; what it has written about itself follows from this.

    Attributes:
        history: The logs of every epoch done.
        step: Steps done in the epoch after these.
        sums: Of that epoch's training metrics.
        seconds: Spent on that epoch's steps, over all sessions.
    """

    history: list[Logs] = field(default_factory=list)
    step: int = 0
    sums: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def epoch(self) -> int:
        """Number of the epoch that the run is in, from 0."""
        return len(self.history)

    @property
    def best_epoch(self) -> int | None:
        """The first epoch of the highest ``val_top1``; None before there is one."""
        reached = [logs["val_top1"] for logs in self.history]
        return reached.index(max(reached)) if reached else None

    def end_epoch(self, logs: Logs) -> None:
        """Goes on to the next epoch; ``logs`` are of the one that ends."""
        self.history.append(logs)
        self.step, self.sums, self.seconds = 0, [], 0.0

    def replace(self, other: "Progress") -> None:
        """Takes over where another one stands."""
        self.__dict__.update(other.__dict__)

    def to_json(self) -> str:
        """Returns it as text; every float is read back to the bit."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Progress":
        """Reads what ``to_json`` made."""
        values: dict[str, Any] = json.loads(text)
        return cls(**values)
