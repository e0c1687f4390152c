"""How large the gradient is in every layer, and which units are dead.

References:
    He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016, section 2.
    Srivastava et al., "Training Very Deep Networks", NIPS 2015.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_resnet.analysis.gated import unit_layers
from keras_resnet.layers import Nested, leaf_layers

Loss = Callable[[Any, Any], Any]  # (labels, outputs) -> loss of the batch


@dataclass(frozen=True)
class Gradients:
    """Norms for one batch, in the order of the layers.

    Attributes:
        kernels: Norm of the loss' gradient at each layer's kernel, by layer.
        units: Norm of its gradient at each unit's output, a mean over images, by unit.
        dead: Share of the channels of each ReLU layer that are 0 in every pixel of
            every image, by layer; without the branches that stochastic depth runs.
    """

    kernels: dict[str, float]
    units: dict[str, float]
    dead: dict[str, float]

    @property
    def ratio(self) -> float:
        """Gradient at the first layer's kernel over that at the last one's."""
        norms = list(self.kernels.values())
        return norms[0] / norms[-1]

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields and the ratio as JSON values."""
        return {**vars(self), "ratio": self.ratio}

    def rows(self) -> list[dict[str, Any]]:
        """Returns one row a measurement: kind, name, value."""
        return [
            {"kind": kind, "name": name, "value": value}
            for kind, values in vars(self).items()
            for name, value in values.items()
        ]


class GradientProbe:
    """Measures a network's gradients on one batch, changing nothing of it.

    Batch norms use the batch's statistics, as in training, and stochastic depth draws;
    moving statistics and seeds are put back afterwards.

    Args:
        model: Any network with one output. Units and ReLUs are those of a functional
            one, without those of models within it.
        images: The batch, as the network takes it.
        labels: Of the batch.
        loss: Maps labels and outputs to the loss; None: the mean cross-entropy of class
            numbers and logits.
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
        self._units, self._relus = {}, {}
        self._probe: Any = lambda x, training: (model(x, training=training), [], [])
        if hasattr(model, "output"):  # not a subclass called on arrays
            self._units = {n: x[-1].output for n, x in unit_layers(model).items()}
            self._relus = {x.name: x.output for x in model.layers if _is_relu(x)}
            probed = [self._units.values(), self._relus.values()]
            self._probe = keras.Model(model.input, [model.output, *map(list, probed)])
        self._computed = tf.function(self._measure, jit_compile=False)

    def __call__(self) -> Gradients:
        """Measures the network as it is now."""
        with _preserved(self._model):
            kernels, units, dead = self._computed()
        return Gradients(
            _named(self._kernels, kernels),
            _named(self._units, units),
            _named(self._relus, dead),
        )

    def _measure(self) -> tuple[list[Any], list[Any], list[Any]]:
        import tensorflow as tf

        kernels = [kernel.value for kernel in self._kernels.values()]
        with tf.GradientTape() as tape:
            tape.watch([self._images, *kernels])
            output, units, relus = self._probe(self._images, training=True)
            loss = self._loss(self._labels, output)
        of_kernels, of_units = tape.gradient(loss, (kernels, units))
        return (
            [_norm(g) for g in of_kernels],
            # The loss is a mean: summed over images, each image's own gradient's norm.
            [tf.reduce_sum(_image_norms(g)) for g in of_units],
            [_dead(x) for x in relus],
        )


class GradientNorms(keras.callbacks.Callback):
    """Records gradients while any Keras model trains.

    Args:
        images: A batch to measure on.
        labels: Of the batch.
        every: Steps between two measurements; the first is ahead of the first step.
        loss: As of ``GradientProbe``.

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
        """Measures ahead of every ``every``-th step."""
        if self._probe is None:
            self._probe = GradientProbe(self.model, *self._batch)
        if self._step % self._every == 0:
            self.records.append((self._step, self._probe()))
        self._step += 1


@contextmanager
def _preserved(model: keras.Model) -> Iterator[None]:
    """Puts back statistics and seeds, which a forward pass in training mode changes."""
    trained = {id(v) for v in model.trainable_variables}
    state = [(v, np.array(v)) for v in model.variables if id(v) not in trained]
    try:
        yield
    finally:
        for variable, value in state:
            variable.assign(value)


def _is_relu(layer: keras.layers.Layer) -> bool:
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    return isinstance(layer, keras.layers.ReLU) or name == "relu"


def _named(names: dict[str, Any], values: list[Any]) -> dict[str, float]:
    return {name: float(v) for name, v in zip(names, values, strict=True)}


def _norm(gradient: Any) -> Any:
    import tensorflow as tf

    # A branch that stochastic depth dropped has none.
    return (
        tf.constant(0.0) if gradient is None else tf.norm(tf.cast(gradient, tf.float32))
    )


def _image_norms(gradient: Any) -> Any:
    import tensorflow as tf

    flat = tf.reshape(tf.cast(gradient, tf.float32), (tf.shape(gradient)[0], -1))
    return tf.norm(flat, axis=1)


def _dead(outputs: Any) -> Any:
    import tensorflow as tf

    highest = tf.reduce_max(outputs, axis=list(range(len(outputs.shape) - 1)))
    return tf.reduce_mean(tf.cast(highest <= 0, tf.float32))
