"""Computes what a training step minimises, with any backend."""

from dataclasses import dataclass, field

import keras
from keras import ops

from training.data.preprocessing import Preprocessing
from training.data.types import Tensor
from training.distributed.replicas import Replicas
from training.evaluation.metrics import Metrics
from training.optimisation.averaging import Average
from training.optimisation.losses import Objective, dominant_class, l2_loss


@dataclass(frozen=True)
class ModelPair:
    """A model to evaluate and save, and the model that is trained in its place.

    Attributes:
        model: The model to evaluate and save; maps normalised images to float32 logits.
        training_model: The model to train: ``model`` itself, a model that shares its
            layers and returns the logits of auxiliary classifiers as further outputs,
            or a model whose moving average is ``model``.
        average: Updates the moving average; None: there is none.
        auxiliary_weight: Weight of the loss of each auxiliary classifier.
    """

    model: keras.Model
    training_model: keras.Model
    average: Average | None = None
    auxiliary_weight: float = 0.0


@dataclass(frozen=True)
class Execution:
    """How a step is computed.

    Except for ``synchronized``, and for the batch norms of ``accumulation``, the
    results differ by rounding only.

    Attributes:
        accumulation: Number of parts in which a batch is computed.
        jit_compile: Whether to compile the step with XLA; JAX always does.
        jit_required: Whether it is an error if XLA cannot compile the step; otherwise
            it is computed without XLA, with a warning.
        synchronized: Whether batch norms use the statistics of the images of all
            replicas; otherwise each uses those of its own images.
        replicas: The devices that train the model, in whose scope its variables were
            created.
    """

    accumulation: int = 1
    jit_compile: bool = False
    jit_required: bool = True
    synchronized: bool = True
    replicas: Replicas = field(default_factory=Replicas)


class ForwardPass:
    """A model, what it minimises, and the state that a step updates.

    Args:
        models: The model to evaluate and the model to train.
        preprocessing: Normalises pixels.
        objective: The objective to minimise.
        optimizer: Updates the trainable variables.
        execution: How the step is computed.

    Attributes:
        model: The model that is evaluated and saved.
        training_model: The model that is trained; before the first step, a model with
            the same variables may take its place.
        average: Updates the moving average; None: there is none.
        optimizer: The optimizer.
        execution: How the step is computed.
        metrics: Metrics of the epoch so far: the mean loss, without weight decay and
            auxiliary classifiers, and the top-1 accuracy (for mixed images, of the
            class with the largest share).
    """

    def __init__(
        self,
        models: ModelPair,
        preprocessing: Preprocessing,
        objective: Objective,
        optimizer: keras.optimizers.Optimizer,
        execution: Execution,
    ) -> None:
        self.model = models.model
        self.training_model = models.training_model
        self.average = models.average
        self.optimizer = optimizer
        self.execution = execution
        self.metrics = Metrics()
        self._auxiliary_weight = models.auxiliary_weight
        self._preprocessing = preprocessing
        self._objective = objective
        self._penalised = objective.penalised(self.training_model.trainable_variables)

    def __call__(
        self, images: Tensor, labels: Tensor, share: float, examples: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Computes a part of a replica's batch.

        Args:
            images: ``(N, H, W, C)``.
            labels: ``(N,)`` or ``(N, classes)``.
            share: Share of this part in the replica's batch, from 0 to 1.
            examples: Number of examples in the whole batch on all replicas.

        Returns:
            The value to minimise, scaled for the optimizer, and a vector of the
            contributions to the mean loss and to ``metrics.sums``.
        """
        pixels = self._preprocessing.normalise(images)
        outputs = self.training_model(pixels, training=True)
        logits, *auxiliary = outputs if isinstance(outputs, list) else [outputs]
        losses = self._objective.loss(labels, logits)
        loss = ops.sum(losses) / examples
        objective = loss
        if self._penalised:
            share = share / self.execution.replicas.parts
            penalty = l2_loss([v.value for v in self._penalised])
            objective += share * self._objective.penalty * penalty
        for auxiliary_logits in auxiliary:
            losses_there = self._objective.loss(labels, auxiliary_logits)
            objective += self._auxiliary_weight * (ops.sum(losses_there) / examples)
        sums = self.metrics.batch_sums(losses, logits, dominant_class(labels))
        results = ops.concatenate([loss[None], sums], 0)
        return self.optimizer.scale_loss(objective), results
