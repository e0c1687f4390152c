"""Defines learning-rate schedules."""

from typing import Any

from keras import ops
from keras.optimizers import schedules

from keras_resnet.layers.registry import register

DIV_FACTOR = 25.0  # the peak divided by the first rate, as in PyTorch's OneCycleLR


@register
class WarmUp(schedules.LearningRateSchedule):
    """Multiplies another schedule by a warm-up factor.

    With t, the optimizer's step from 0::

        rate(t) = schedule(t) · f(t)
        f(t) = start + (1 − start) · min(1, t / steps)    if it is linear
        f(t) = start before step ``steps``, then 1        otherwise

    These are the factors of PyTorch's ``LinearLR`` and ``ConstantLR``. The other
    schedule is not delayed: a cosine has already decayed a little when the warm-up
    ends. Keras' ``CosineDecay`` begins its decay there instead.

    Args:
        schedule: The schedule, by steps counted from the beginning of the run.
        steps: Number of steps of the warm-up.
        start: Share of ``schedule`` at the first step, from 0 to 1.
        linear: Whether the share rises linearly to 1; otherwise it is constant.
    """

    def __init__(
        self,
        schedule: schedules.LearningRateSchedule,
        steps: int,
        start: float = 0.0,
        linear: bool = True,
    ) -> None:
        self.schedule = schedule
        self.steps = steps
        self.start = start
        self.linear = linear

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of the optimizer's step number ``step``."""
        rate = self.schedule(step)
        if self.steps == 0:
            return rate
        done = ops.minimum(1.0, ops.cast(step, "float32") / self.steps)
        if not self.linear:
            done = ops.floor(done)
        return rate * (self.start + (1.0 - self.start) * done)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "schedule": schedules.serialize(self.schedule),
            "steps": self.steps,
            "start": self.start,
            "linear": self.linear,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        """Creates a schedule from the result of ``get_config``."""
        former = {"after": "schedule", "rises": "linear"}  # in files of version 0.1
        values = {former.get(name, name): value for name, value in config.items()}
        schedule = schedules.deserialize(values.pop("schedule"))
        return cls(schedule, **values)


@register
class OneCycle(schedules.LearningRateSchedule):
    """Rises linearly from a 25th of the peak to the peak and falls linearly to zero.

    With s, the share of the run that is done, from 0 to 1::

        rate(s) = peak · (1/25 + 24/25 · s / peak_at)     before ``peak_at``
        rate(s) = peak · (1 − s) / (1 − peak_at)          after it

    Reference: Smith & Topin, "Super-Convergence", 2018, without the momentum cycle.
    PyTorch's ``OneCycleLR`` follows a cosine by default and ends above zero.

    Args:
        peak: Highest learning rate.
        steps: Number of steps of the run.
        peak_at: Share of the run at which the peak is reached, between 0 and 1.
    """

    def __init__(self, peak: float, steps: int, peak_at: float) -> None:
        self.peak = peak
        self.steps = steps
        self.peak_at = peak_at

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of the optimizer's step number ``step``."""
        done = ops.cast(step, "float32") / self.steps
        start = 1 / DIV_FACTOR
        rise = start + (1 - start) * done / self.peak_at
        fall = (1 - done) / (1 - self.peak_at)
        return self.peak * ops.maximum(0.0, ops.minimum(rise, fall))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"peak": self.peak, "steps": self.steps, "peak_at": self.peak_at}
