"""What a training step minimises."""

from dataclasses import dataclass
from typing import Any

from training.optimisation.losses import Loss
from training.optimisation.optimizers import decayed


@dataclass(frozen=True)
class Objective:
    """The loss of a step and what is added to it.

    Attributes:
        loss: Maps labels and logits to the losses of the examples.
        penalty: λ of the penalty λ/2·‖w‖² on the weights; 0: none.
        penalises_all: Penalise biases and batch-norm parameters too, not only kernels.
        auxiliary_weight: Weight of the loss of each auxiliary classifier.
    """

    loss: Loss
    penalty: float = 0.0
    penalises_all: bool = False
    auxiliary_weight: float = 0.0

    def penalised(self, variables: list[Any]) -> list[Any]:
        """Returns the variables that the penalty is on."""
        if not self.penalty:
            return []
        return decayed(variables, all_of_them=self.penalises_all)
