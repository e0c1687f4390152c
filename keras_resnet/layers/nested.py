"""Layers that run a part of the network, and the layers inside them."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import KerasTensor


class Nested(keras.layers.Layer):
    """A layer around a model, its branch, whose weights and names stay its own.

    Args:
        branch: A model of one or more inputs.
        **kwargs: Of ``keras.layers.Layer``.
    """

    def __init__(self, branch: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.branch = branch
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        branch = keras.saving.serialize_keras_object(self.branch)
        return {**super().get_config(), "branch": branch}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Nested":
        """Makes the layer that ``get_config`` described."""
        branch = keras.saving.deserialize_keras_object(config["branch"])
        return cls(**{**config, "branch": branch})


def branch_model(
    build: Callable[..., KerasTensor], inputs: list[KerasTensor], *, name: str
) -> keras.Model:
    """Makes a model of what ``build`` does with tensors like ``inputs``."""
    within = [keras.Input(x.shape[1:], dtype=x.dtype) for x in inputs]
    return keras.Model(within, build(*within), name=name)


def leaf_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields a network's layers, those inside nested ones ahead of these."""
    for layer in model.layers:
        if isinstance(layer, Nested):
            inner = leaf_layers(layer.branch)
            yield from (x for x in inner if not isinstance(x, keras.layers.InputLayer))
        yield layer
