"""The class of all networks here: a functional Keras model of any depth."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import keras

from keras_resnet.layers.nested import leaf_layers
from keras_resnet.layers.registry import register

DEEPEST = 100_000  # frames: far more than any graph here has layers in a row


@register
class Network(keras.Model):
    """A functional ``keras.Model`` that may be a thousand layers deep.

    Keras walks a graph recursively, a frame a layer, when a functional model is made
    from its tensors and when it is loaded or cloned, and fails at Python's default
    limit of a thousand frames. A network raises the limit for that time.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with deep_recursion():
            super().__init__(*args, **kwargs)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """Returns a layer by name, also from within another layer, or by index."""
        if index is None:
            for layer in leaf_layers(self):
                if layer.name == name:
                    return layer
        return super().get_layer(name, index)

    @classmethod
    def from_config(cls, *args: Any, **kwargs: Any) -> "Network":
        """Makes the network that ``get_config`` described."""
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
    """Returns a context in which TensorFlow makes variables quickly.

    TensorFlow compiles a kernel for every new name of a variable, most of the time
    that a variable takes. Here it sees ``kernel`` or ``gamma`` without the layer; Keras
    keeps the layer's name (``variable.path``).
    """
    if keras.backend.backend() != "tensorflow":
        return nullcontext()
    import tensorflow as tf

    def create(creator: Callable[..., Any], **options: Any) -> Any:
        name = (options.get("name") or "variable").rsplit("/", 1)[-1]
        # A name that ends in a slash stands for itself in any name scope.
        return creator(**{**options, "name": f"{name}/"})

    return tf.variable_creator_scope(create)
