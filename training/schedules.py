"""The learning rate over time."""

from typing import Any

from keras import ops
from keras.optimizers import schedules

from training.recipes import Recipe


class WarmUp(schedules.LearningRateSchedule):
    """A linear rise from zero in front of another schedule.

    Args:
        after: The learning rate, by steps counted from the run's beginning.
        steps: Length of the rise; its end meets ``after`` at that step.
    """

    def __init__(self, after: schedules.LearningRateSchedule, steps: int) -> None:
        self.after = after
        self.steps = steps

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of the optimizer's step number ``step``."""
        rate = self.after(step)
        if self.steps == 0:
            return rate
        return rate * ops.minimum(1.0, (ops.cast(step, "float32") + 1.0) / self.steps)


def learning_rate(recipe: Recipe, steps_per_epoch: int) -> WarmUp:
    """Returns the recipe's learning rate as a function of the optimizer's step."""
    total = recipe.epochs * steps_per_epoch
    peak = recipe.learning_rate
    rate: schedules.LearningRateSchedule
    if recipe.schedule == "cosine":  # Loshchilov & Hutter, 2017, one period
        rate = schedules.CosineDecay(peak, total)
    else:
        # Keras wants at least one boundary: without milestones, one that is never met.
        shares = recipe.milestones if recipe.schedule == "step" else ()
        boundaries = [round(share * total) for share in shares] or [total]
        values = [peak * 0.1**i for i in range(len(boundaries) + 1)]
        rate = schedules.PiecewiseConstantDecay(boundaries, values)
    return WarmUp(rate, round(recipe.warmup_epochs * steps_per_epoch))
