"""Defines layers that contain a part of the network, and iterates over all layers."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import KerasTensor

from keras_resnet.keras_internals import forget_sublayer, sublayers


class Nested(keras.layers.Layer):
    """A layer around a model, the branch, which keeps its weights and layer names.

    Args:
        branch: A model with one or more inputs.
        **kwargs: Arguments of ``keras.layers.Layer``.
    """

    def __init__(self, branch: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.branch = branch

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The branch's layers, as in a nested model."""
        return [x for x in self.branch.layers if not _is_input(x)]

    def build(self, input_shape: Any) -> None:
        """Adapts the branch of a new layer to inputs of another height or width."""
        shapes = self._branch_shapes(input_shape)
        pairs = list(zip(self.branch.inputs, shapes, strict=True))
        if any(x.shape[1:] != tuple(shape[1:]) for x, shape in pairs):
            inputs = [keras.Input(shape[1:], dtype=x.dtype) for x, shape in pairs]
            forget_sublayer(self, self.branch)
            self.branch = keras.models.clone_model(
                self.branch, keras.tree.pack_sequence_as(self.branch.input, inputs)
            )
        self.built = True

    def _branch_shapes(self, input_shape: Any) -> list[tuple[int | None, ...]]:
        """Returns the shapes of the layer's inputs that the branch uses."""
        several = isinstance(input_shape[0], list | tuple)
        return list(input_shape) if several else [input_shape]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        branch = keras.saving.serialize_keras_object(self.branch)
        return {**super().get_config(), "branch": branch}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Nested":
        """Creates the layer that ``get_config`` described."""
        branch = keras.saving.deserialize_keras_object(config["branch"])
        return cls(**{**config, "branch": branch})


def branch_model(
    build: Callable[..., KerasTensor], inputs: list[KerasTensor], *, name: str
) -> keras.Model:
    """Returns a model of the function ``build``.

    Args:
        build: Maps tensors to the output tensor.
        inputs: Tensors of the model's input shapes and dtypes.
        name: Name of the model.
    """
    within = [keras.Input(x.shape[1:], dtype=x.dtype) for x in inputs]
    return keras.Model(within, build(*within), name=name)


def leaf_layers(model: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yields a network's layers; the layers inside a nested layer precede it.

    Submodels are traversed but not yielded. A layer of several of them is yielded once.
    """
    seen = {id(layer): layer for layer in _held_layers(model)}
    yield from seen.values()


def _held_layers(model: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    for layer in sublayers(model):
        inner = _held_layers(layer)
        yield from (x for x in inner if not _is_input(x))
        if not isinstance(layer, keras.Model):
            yield layer


def _is_input(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.InputLayer)
