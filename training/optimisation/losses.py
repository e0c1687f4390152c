"""Defines training losses for class numbers and for mixed targets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_resnet.layers.registry import register
from training.data.types import Tensor
from training.optimisation.optimizers import decayed_variables

Loss = Callable[[Tensor, Tensor], Tensor]


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
        return decayed_variables(variables, include_all=self.penalises_all)


def make_loss(
    kind: str, classes: int, *, smoothing: float = 0.0, threshold: float | None = None
) -> Loss:
    """Returns a loss for class numbers and for mixed targets.

    The loss maps labels, which are class numbers ``(N,)`` or targets ``(N, classes)``,
    and logits ``(N, classes)`` to the losses of the examples ``(N,)``, in nats.

    Args:
        kind: ``"softmax"`` (cross-entropy) or ``"bce"`` (binary cross-entropy).
        classes: Number of classes.
        smoothing: Share of each target that is spread evenly over all classes.
        threshold: For ``"bce"``: targets above it become 1, the others 0; None: targets
            are unchanged.
    """

    def targets_of(labels: Tensor) -> Tensor:
        hard = len(labels.shape) == 1
        targets = ops.one_hot(labels, classes) if hard else labels
        # Szegedy et al., "Rethinking the Inception Architecture", 2016, section 7.
        return (1 - smoothing) * targets + smoothing / classes

    def softmax(labels: Tensor, logits: Tensor) -> Tensor:
        if not smoothing and len(labels.shape) == 1:
            return cross_entropy(labels, logits)
        return ops.categorical_crossentropy(
            targets_of(labels), logits, from_logits=True
        )

    def binary(labels: Tensor, logits: Tensor) -> Tensor:
        """Treats each class as a binary decision of its own.

        Reference: Wightman et al., "ResNet strikes back", 2021, section 3.1.
        """
        targets = targets_of(labels)
        if threshold is not None:
            targets = ops.cast(targets > threshold, "float32")
        losses = ops.binary_crossentropy(targets, logits, from_logits=True)
        return ops.mean(losses, -1)

    return {"softmax": softmax, "bce": binary}[kind]


@register
class RecipeLoss(keras.losses.Loss):
    """A recipe's loss for ``keras.Model.compile``.

    Args:
        loss: The recipe's field of this name.
        label_smoothing: The recipe's field of this name.
        bce_threshold: The recipe's field of this name.
        **kwargs: Arguments of ``keras.losses.Loss``.
    """

    def __init__(
        self,
        loss: str = "softmax",
        label_smoothing: float = 0.0,
        bce_threshold: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"name": "loss", **kwargs})
        self._fields: dict[str, Any] = {
            "loss": loss,
            "label_smoothing": label_smoothing,
            "bce_threshold": bce_threshold,
        }

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns losses; labels are class numbers ``(N,)``, ``(N, 1)`` or targets."""
        classes = y_pred.shape[-1]
        if len(y_true.shape) == 1 or y_true.shape[-1] == 1 < classes:
            y_true = ops.cast(ops.reshape(y_true, [-1]), "int32")
        loss = make_loss(
            self._fields["loss"],
            classes,
            smoothing=self._fields["label_smoothing"],
            threshold=self._fields["bce_threshold"],
        )
        return loss(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), **self._fields}


def dominant_class(labels: Tensor) -> Tensor:
    """Returns the class numbers of labels; for mixed targets, the largest class."""
    return labels if len(labels.shape) == 1 else ops.argmax(labels, -1)


def cross_entropy(labels: Tensor, logits: Tensor) -> Tensor:
    """Returns each example's cross-entropy in nats, from logits ``(N, classes)``."""
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def l2_loss(values: Sequence[Tensor]) -> Tensor:
    """Returns half the sum of the squares of all values."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # has a kernel that stores no squares

        return tf.add_n([tf.nn.l2_loss(x) for x in values])
    return sum(ops.sum(ops.square(x)) for x in values) / 2
