"""Defines the model class of all networks: a functional Keras model of any depth."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import keras

from keras_resnet.layers.nested import leaf_layers
from keras_resnet.layers.registry import register

DEEPEST = 100_000  # frames, far more than the layers in a row in any graph here


@register
class Network(keras.Model):
    """A functional ``keras.Model`` that may be a thousand layers deep.

    Keras traverses a graph recursively, one frame per layer, when it creates, loads or
    clones a functional model, and fails at Python's default limit of a thousand
    frames. This class raises the limit during that time.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with deep_recursion():
            super().__init__(*args, **kwargs)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """Returns a layer by name, also one inside another layer, or by index."""
        if index is None:
            for layer in leaf_layers(self):
                if layer.name == name:
                    return layer
        return super().get_layer(name, index)

    @classmethod
    def from_config(cls, *args: Any, **kwargs: Any) -> "Network":
        """Creates the network that ``get_config`` described."""
        with quick_variables():
            return super().from_config(*args, **kwargs)


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Raises Python's recursion limit inside the ``with`` block."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, DEEPEST))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def quick_variables() -> Any:
    """Returns a context in which TensorFlow creates variables quickly.

    TensorFlow compiles a kernel for every new variable name, which takes most of the
    creation time. In this context it sees ``kernel`` or ``gamma`` without the layer's
    name, which Keras keeps (``variable.path``).
    """
    if keras.backend.backend() != "tensorflow":
        return nullcontext()
    import tensorflow as tf

    def create(creator: Callable[..., Any], **options: Any) -> Any:
        name = (options.get("name") or "variable").rsplit("/", 1)[-1]
        # TensorFlow uses a name that ends in a slash as is, in any name scope.
        return creator(**{**options, "name": f"{name}/"})

    return tf.variable_creator_scope(create)
