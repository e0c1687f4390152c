"""Describes the objective that a training step minimises."""

from dataclasses import dataclass
from typing import Any

from training.optimisation.losses import Loss
from training.optimisation.optimizers import decayed


@dataclass(frozen=True)
class Objective:
    """The loss of a step and the terms that are added to it.

    Attributes:
        loss: Maps labels and logits to the losses of the examples.
        penalty: λ of the penalty λ/2·‖w‖² on the weights; 0: no penalty.
        penalises_all: Whether to penalise biases and batch-norm parameters too.
    """

    loss: Loss
    penalty: float = 0.0
    penalises_all: bool = False

    def penalised(self, variables: list[Any]) -> list[Any]:
        """Returns the variables that are penalised."""
        if not self.penalty:
            return []
        return decayed(variables, all_of_them=self.penalises_all)
