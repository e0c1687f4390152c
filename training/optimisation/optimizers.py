"""Adapts Keras' optimizers to their use in the papers."""

from typing import Any

import keras
from keras import ops

from keras_resnet.keras_internals import variable_index
from keras_resnet.layer_names import HEAD
from keras_resnet.layers.registry import register
from training.data.types import Tensor


class ParameterGroups(keras.optimizers.Optimizer):
    """An optimizer that treats some of a network's variables differently.

    It needs a fixed name: checkpoints know its variables by it; Keras' default varies.

    Args:
        *args: Arguments of the optimizer.
        head_scale: The head's learning rate, as a multiple of that of the rest.
        decays_all: Whether to decay biases and batch-norm parameters too.
        **kwargs: Arguments of the optimizer.
    """

    def __init__(
        self,
        *args: Any,
        head_scale: float = 1.0,
        decays_all: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.head_scale = head_scale
        self.decays_all = decays_all

    def build(self, variables: list[Any]) -> None:
        """Creates the optimizer's variables."""
        if not (self.built or self.decays_all):
            self.exclude_from_weight_decay([v for v in variables if not is_kernel(v)])
        self._in_head = tuple(v.path.split("/")[0] == HEAD for v in variables)
        super().build(variables)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        fields = {"head_scale": self.head_scale, "decays_all": self.decays_all}
        return {**super().get_config(), **fields}

    def update_step(
        self, gradient: Tensor, variable: Any, learning_rate: Tensor
    ) -> None:
        """Updates one variable.

        Args:
            gradient: Gradient of the variable, of its shape.
            variable: The variable.
            learning_rate: The learning rate, before it is scaled for the head.
        """
        in_head = self._in_head[variable_index(self, variable)]
        scale = self.head_scale if in_head else 1.0
        super().update_step(gradient, variable, learning_rate * scale)


@register
class SGD(ParameterGroups, keras.optimizers.SGD):
    """Keras' SGD; weight decay is a penalty in the loss, as in the papers."""


@register
class AdamW(ParameterGroups, keras.optimizers.AdamW):
    """Keras' AdamW (Loshchilov & Hutter, 2019).

    The weight decay of the head uses the learning rate without ``head_scale``.
    """


class _PaperLamb(keras.optimizers.Optimizer):
    """The update of ``Lamb``; ``ParameterGroups`` scales its learning rate first."""

    decays_all = False

    def __init__(
        self,
        learning_rate: Any = 0.001,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        weight_decay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)  # Keras' own decay stays off
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.decay_rate = weight_decay

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        slots = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        self.means, self.squares = slots

    def get_config(self) -> dict[str, Any]:
        fields = {"beta_1": self.beta_1, "beta_2": self.beta_2}
        fields |= {"epsilon": self.epsilon, "weight_decay": self.decay_rate}
        return {**super().get_config(), **fields}

    def update_step(
        self, gradient: Tensor, variable: Any, learning_rate: Tensor
    ) -> None:
        index = variable_index(self, variable)
        step = ops.cast(self.iterations + 1, variable.dtype)
        mean, square = self.means[index], self.squares[index]
        self.assign_add(mean, (1 - self.beta_1) * (gradient - mean))
        self.assign_add(square, (1 - self.beta_2) * (ops.square(gradient) - square))
        direction = (mean / (1 - ops.power(self.beta_1, step))) / (
            ops.sqrt(square / (1 - ops.power(self.beta_2, step))) + self.epsilon
        )
        if self.decay_rate and (self.decays_all or is_kernel(variable)):
            direction = direction + self.decay_rate * variable
            length, size = (
                ops.sqrt(ops.sum(ops.square(x))) for x in (direction, variable)
            )
            known = ops.logical_and(length > 0, size > 0)
            direction = direction * ops.where(known, size / length, 1.0)
        self.assign_sub(variable, learning_rate * direction)


@register
class Lamb(ParameterGroups, _PaperLamb):
    """LAMB with the weight decay inside the layer's trust ratio, as published.

    With Adam's direction a, the weight decay λ and the learning rate r::

        w ← w − r · ‖w‖ / ‖a + λw‖ · (a + λw)

    Keras' Lamb decays weights separately. Variables without decay (biases and batch
    norms) are updated as in Adam, without a trust ratio, as in the authors' code and in
    timm.

    Reference: You et al., "Large Batch Optimization for Deep Learning", 2020,
    algorithm 2.
    """


def last_rate(
    optimizer: keras.optimizers.Optimizer, iterations: int | None = None
) -> float:
    """Returns the learning rate that the optimizer's last step used.

    Args:
        optimizer: The optimizer.
        iterations: Number of its steps so far; None: read from the optimizer, which
            waits for the device.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    rate = inner.get_config()["learning_rate"]
    if isinstance(rate, dict):  # ``inner.learning_rate`` is that of the next step
        schedule = keras.optimizers.schedules.deserialize(rate)
        if iterations is None:
            iterations = int(ops.convert_to_numpy(inner.iterations))
            # Not on the CPU: with several workers on JAX, Keras' "cpu" is worker 0's.
            return float(schedule(max(iterations - 1, 0)))
        with keras.device("cpu"):  # a GPU would first finish the steps that it computes
            return float(schedule(max(iterations - 1, 0)))
    return float(rate)


def is_kernel(variable: Any) -> bool:
    """Checks whether a variable is a kernel, not a bias or batch-norm parameter."""
    return len(variable.shape) > 1


def decayed_variables(variables: list[Any], *, include_all: bool) -> list[Any]:
    """Returns the variables that weight decay shrinks: kernels only, or all."""
    return [v for v in variables if include_all or is_kernel(v)]
