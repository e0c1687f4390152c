"""Keras' optimizers as the papers use them.

Names are given, since checkpoints know the variables by them and Keras counts up.
"""

from typing import Any

import keras
from keras import ops

from keras_resnet.layer_names import HEAD
from training.data.images import Tensor
from training.optimisation.schedules import learning_rate
from training.recipe import Recipe


class HeadRate(keras.optimizers.Optimizer):
    """An optimizer whose learning rate differs for the network's head.

    Attributes:
        head_scale: The head's learning rate, in that of the rest.
    """

    head_scale = 1.0

    def update_step(
        self, gradient: Tensor, variable: Any, learning_rate: Tensor
    ) -> None:
        """Updates one variable."""
        # Under TensorFlow this is the bare tf.Variable, which does not know its layer.
        known = self._trainable_variables[self._get_variable_index(variable)]
        in_head = known.path.split("/")[0] == HEAD
        scale = self.head_scale if in_head else 1.0
        super().update_step(gradient, variable, learning_rate * scale)


class SGD(HeadRate, keras.optimizers.SGD):
    """Keras' SGD; weight decay is a penalty in the loss, as the papers have it."""


class AdamW(HeadRate, keras.optimizers.AdamW):
    """Keras' AdamW (Loshchilov & Hutter, 2019); it decays by the common rate."""


class _PaperLamb(keras.optimizers.Lamb):
    def _apply_weight_decay(self, variables: Any) -> None:
        """Leaves it to the update."""

    def update_step(
        self, gradient: Tensor, variable: Any, learning_rate: Tensor
    ) -> None:
        index = self._get_variable_index(variable)
        step = ops.cast(self.iterations + 1, variable.dtype)
        mean, square = self._momentums[index], self._velocities[index]
        self.assign_add(mean, (1 - self.beta_1) * (gradient - mean))
        self.assign_add(square, (1 - self.beta_2) * (ops.square(gradient) - square))
        direction = (mean / (1 - ops.power(self.beta_1, step))) / (
            ops.sqrt(square / (1 - ops.power(self.beta_2, step))) + self.epsilon
        )
        if self.weight_decay and self._use_weight_decay(variable):
            direction = direction + self.weight_decay * variable
            length, size = (
                ops.sqrt(ops.sum(ops.square(x))) for x in (direction, variable)
            )
            known = ops.logical_and(length > 0, size > 0)
            direction = direction * ops.where(known, size / length, 1.0)
        self.assign_sub(variable, learning_rate * direction)


class Lamb(HeadRate, _PaperLamb):
    """LAMB with the weight decay inside the layer's trust ratio, as published.

    Keras' Lamb decays weights apart from it. Variables without decay (biases and batch
    norms) are updated as by Adam, without a trust ratio, as in the authors' code and in
    timm's.

    Reference: You et al., "Large Batch Optimization for Deep Learning", 2020,
    algorithm 2.
    """


def make_optimizer(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Returns the recipe's optimizer, its learning rate scheduled."""
    rate = learning_rate(recipe, steps_per_epoch)
    clip = recipe.clip_norm or None
    optimizer: HeadRate
    if recipe.optimizer == "sgd":
        optimizer = SGD(
            rate, recipe.momentum, recipe.nesterov, global_clipnorm=clip, name="sgd"
        )
    else:
        maker = AdamW if recipe.optimizer == "adamw" else Lamb
        optimizer = maker(
            rate,
            beta_1=recipe.momentum,
            epsilon=1e-8 if maker is AdamW else 1e-6,  # their papers'
            weight_decay=recipe.weight_decay,
            global_clipnorm=clip,
            name=recipe.optimizer,
        )
    if recipe.head_learning_rate is not None:
        optimizer.head_scale = recipe.head_learning_rate / recipe.learning_rate
    return optimizer


def decayed(recipe: Recipe, variables: list[Any]) -> list[Any]:
    """The variables that weight decay shrinks."""
    return [v for v in variables if recipe.decay == "all" or len(v.shape) > 1]


def build(
    optimizer: keras.optimizers.Optimizer, variables: list[Any], spared: list[Any]
) -> None:
    """Builds an optimizer for variables, of which ``spared`` are not decayed."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    inner.exclude_from_weight_decay(var_list=[v.value for v in spared])
    optimizer.build(variables)
