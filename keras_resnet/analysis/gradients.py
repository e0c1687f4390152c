"""Measures the gradient in every layer and the share of dead channels.

References:
    He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016, section 2.
    Srivastava et al., "Training Very Deep Networks", NIPS 2015.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnet.layer_names import unit_of
from keras_resnet.layers import Nested, leaf_layers

Loss = Callable[[Any, Any], Any]  # (labels, outputs) -> loss of the batch


@dataclass(frozen=True)
class Gradients:
    """Norms for one batch, in the order of the layers.

    Attributes:
        kernels: Norm of the loss gradient at each layer's kernel, by layer.
        units: Norm of the gradient at each unit's output, mean over images, by unit.
        dead: Share of each ReLU layer's channels that are 0 in every pixel of every
            image, by layer; excludes the branches of stochastic depth.
    """

    kernels: dict[str, float]
    units: dict[str, float]
    dead: dict[str, float]

    @property
    def ratio(self) -> float:
        """Gradient at the first layer's kernel divided by that at the last layer's."""
        norms = list(self.kernels.values())
        return norms[0] / norms[-1]

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields and the ratio as JSON values."""
        return {**vars(self), "ratio": self.ratio}

    def rows(self) -> list[dict[str, Any]]:
        """Returns one row per measurement: kind, name, value."""
        return [
            {"kind": kind, "name": name, "value": value}
            for kind, values in vars(self).items()
            for name, value in values.items()
        ]


class GradientProbe:
    """Measures a network's gradients on one batch without changing the network.

    As in training, batch norms use the batch's statistics and stochastic depth draws.
    Moving statistics and seeds are restored afterwards.

    Args:
        model: A model with one output; it may contain a network of this library.
        images: The batch, in the form that the model takes.
        labels: The labels of the batch.
        loss: Maps labels and outputs to the loss; None means the mean cross-entropy of
            class numbers and logits.
    """

    def __init__(
        self, model: keras.Model, images: Any, labels: Any, loss: Loss | None = None
    ) -> None:
        import tensorflow as tf

        self._model = model
        self._images = tf.convert_to_tensor(images)
        self._labels = tf.convert_to_tensor(labels)
        self._loss = loss or keras.losses.SparseCategoricalCrossentropy(
            from_logits=True
        )
        self._kernels = {
            layer.name: layer.kernel
            for layer in leaf_layers(model)
            if not isinstance(layer, Nested)
            and getattr(layer, "kernel", None) is not None
        }
        within = {
            id(inner)
            for layer in leaf_layers(model)
            if isinstance(layer, Nested)
            for inner in leaf_layers(layer)
        }
        outer = [x for x in leaf_layers(model) if id(x) not in within]
        # The output of a unit is that of its last layer.
        self._units = {unit: x for x in outer if (unit := unit_of(x.name))}
        self._relus = {x.name: x for x in outer if _is_relu(x)}
        self._computed = tf.function(self._measure, autograph=False, jit_compile=False)

    def __call__(self) -> Gradients:
        """Measures the network in its current state."""
        with _preserved(self._model):
            found = self._computed()
        return Gradients(
            *({name: float(v) for name, v in values.items()} for values in found)
        )

    def _measure(self) -> tuple[dict[str, Any], ...]:
        import tensorflow as tf

        kernels = {name: kernel.value for name, kernel in self._kernels.items()}
        watched = {id(x): x for x in (*self._units.values(), *self._relus.values())}
        with tf.GradientTape() as tape, _recorded(watched.values()) as outputs:
            tape.watch([self._images, *kernels.values()])
            output = self._model(self._images, training=True)
            loss = self._loss(self._labels, output)
        graph = tf.compat.v1.get_default_graph()
        units, relus = (
            # Excludes layers that ran in their own function, or did not run.
            {n: y for n, x in layers.items() if _is_of(graph, y := outputs.get(id(x)))}
            for layers in (self._units, self._relus)
        )
        of_kernels, of_units = tape.gradient(loss, (kernels, units))
        return (
            {name: _norm(g) for name, g in of_kernels.items()},
            # The loss is a mean, so the sum over images is the mean of their norms.
            {name: ops.sum(_image_norms(g)) for name, g in of_units.items()},
            {name: _dead(x) for name, x in relus.items()},
        )


class GradientNorms(keras.callbacks.Callback):
    """Records gradients during the training of any Keras model.

    Args:
        images: A batch to measure on.
        labels: The labels of the batch.
        every: Steps between two measurements; the first precedes the first step.
        loss: As in ``GradientProbe``.

    Attributes:
        records: ``(step, gradients)`` of every measurement.
    """

    def __init__(
        self, images: Any, labels: Any, *, every: int = 100, loss: Loss | None = None
    ) -> None:
        super().__init__()
        self.records: list[tuple[int, Gradients]] = []
        self._batch = (images, labels, loss)
        self._every = every
        self._step = 0
        self._probe: GradientProbe | None = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Measures before every ``every``-th step."""
        if self._probe is None:
            self._probe = GradientProbe(self.model, *self._batch)
        if self._step % self._every == 0:
            self.records.append((self._step, self._probe()))
        self._step += 1


@contextmanager
def _preserved(model: keras.Model) -> Iterator[None]:
    """Restores statistics and seeds, which a forward pass in training mode changes."""
    state = [(v, np.array(v)) for v in model.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in state:
            variable.assign(value)


def _is_relu(layer: keras.layers.Layer) -> bool:
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    return isinstance(layer, keras.layers.ReLU) or name == "relu"


@contextmanager
def _recorded(layers: Iterable[keras.layers.Layer]) -> Iterator[dict[int, Any]]:
    """Yields the outputs of layers by id, as the model calls them."""
    outputs: dict[int, Any] = {}

    def recording(layer: keras.layers.Layer) -> Callable[..., Any]:
        call = layer.call

        def recorded(*args: Any, **kwargs: Any) -> Any:
            outputs[id(layer)] = y = call(*args, **kwargs)
            return y

        return recorded

    layers = list(layers)
    try:
        for layer in layers:
            layer.call = recording(layer)
        yield outputs
    finally:
        for layer in layers:
            vars(layer).pop("call", None)


def _is_of(graph: Any, output: Any) -> bool:
    return getattr(output, "graph", None) is graph


def _norm(gradient: Any) -> Any:
    # A branch that stochastic depth dropped has no gradient.
    if gradient is None:
        return 0.0
    return ops.norm(ops.reshape(ops.cast(gradient, "float32"), (-1,)))


def _image_norms(gradient: Any) -> Any:
    flat = ops.reshape(gradient, (ops.shape(gradient)[0], -1))
    return ops.norm(ops.cast(flat, "float32"), axis=1)


def _dead(outputs: Any) -> Any:
    highest = ops.max(outputs, axis=tuple(range(len(outputs.shape) - 1)))
    return ops.mean(ops.cast(highest <= 0, "float32"))
