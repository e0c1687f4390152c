"""The learning rate over time."""

from typing import Any

from keras import ops
from keras.optimizers import schedules

from keras_resnet.layers.registry import register

CYCLE_START = 25.0  # PyTorch's OneCycleLR: the first rate is the highest over this


@register
class WarmUp(schedules.LearningRateSchedule):
    """A warm-up in front of another schedule.

    The first step has the share ``start`` of the rate, the step after the warm-up's
    last is the first that has all of it, as with PyTorch's ``LinearLR`` and
    ``ConstantLR`` and Keras' ``CosineDecay``.

    Args:
        after: The learning rate, by steps counted from the run's beginning.
        steps: Length of the warm-up.
        start: Share of ``after`` that the warm-up begins with.
        rises: Linearly to the whole of it; else the share stays.
    """

    def __init__(
        self,
        after: schedules.LearningRateSchedule,
        steps: int,
        start: float = 0.0,
        rises: bool = True,
    ) -> None:
        self.after = after
        self.steps = steps
        self.start = start
        self.rises = rises

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of the optimizer's step number ``step``."""
        rate = self.after(step)
        if self.steps == 0:
            return rate
        done = ops.minimum(1.0, ops.cast(step, "float32") / self.steps)
        if not self.rises:
            done = ops.floor(done)
        return rate * (self.start + (1.0 - self.start) * done)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "after": schedules.serialize(self.after),
            "steps": self.steps,
            "start": self.start,
            "rises": self.rises,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        """Makes the schedule that ``get_config`` described."""
        return cls(**{**config, "after": schedules.deserialize(config["after"])})


@register
class OneCycle(schedules.LearningRateSchedule):
    """A linear rise from 1/25 of the peak to the peak and a linear fall to zero.

    Reference: Smith & Topin, "Super-Convergence", 2018, without the cycle of the
    momentum.

    Args:
        peak: The highest learning rate.
        steps: Of the run.
        peak_at: Share of the run at which it is highest.
    """

    def __init__(self, peak: float, steps: int, peak_at: float) -> None:
        self.peak = peak
        self.steps = steps
        self.peak_at = peak_at

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of the optimizer's step number ``step``."""
        done = ops.cast(step, "float32") / self.steps
        start = 1 / CYCLE_START
        rise = start + (1 - start) * done / self.peak_at
        fall = (1 - done) / (1 - self.peak_at)
        return self.peak * ops.maximum(0.0, ops.minimum(rise, fall))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"peak": self.peak, "steps": self.steps, "peak_at": self.peak_at}
