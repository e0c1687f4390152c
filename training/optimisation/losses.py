"""What training minimises, for class numbers and for mixed targets alike."""

from collections.abc import Callable

import tensorflow as tf

from training.data.images import Tensor
from training.metrics import cross_entropy
from training.recipe import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]


def make_loss(recipe: Recipe, classes: int) -> Loss:
    """Returns the recipe's loss.

    It maps labels, class numbers ``(N,)`` or targets ``(N, classes)``, and logits
    ``(N, classes)`` to the loss of each example ``(N,)``, in nats.
    """
    smoothing, threshold = recipe.label_smoothing, recipe.bce_threshold

    def targets_of(labels: Tensor) -> Tensor:
        hard = len(labels.shape) == 1
        targets = tf.one_hot(labels, classes) if hard else labels
        # Szegedy et al., "Rethinking the Inception Architecture", 2016, section 7.
        return (1 - smoothing) * targets + smoothing / classes

    def softmax(labels: Tensor, logits: Tensor) -> Tensor:
        if not smoothing and len(labels.shape) == 1:
            return cross_entropy(labels, logits)
        return tf.nn.softmax_cross_entropy_with_logits(targets_of(labels), logits)

    def binary(labels: Tensor, logits: Tensor) -> Tensor:
        """Each class is a yes or no of its own.

        Reference: Wightman et al., "ResNet strikes back", 2021, section 3.1.
        """
        targets = targets_of(labels)
        if threshold is not None:
            targets = tf.cast(targets > threshold, tf.float32)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
        return tf.reduce_mean(losses, -1)

    return binary if recipe.loss == "bce" else softmax


def dominant(labels: Tensor) -> Tensor:
    """The class numbers of labels; of mixed targets, the class with most of it."""
    return labels if len(labels.shape) == 1 else tf.argmax(labels, -1)
