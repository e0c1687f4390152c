"""Networks whose weights have a shape and no value, which are quickly made."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keras_resnet import MODELS
from keras_resnet.describe import network_cost


@contextmanager
def unallocated() -> Iterator[keras.StatelessScope]:
    """A scope in which weights are not allocated; it keeps what is assigned to them."""
    try:
        with keras.StatelessScope(initialize_variables=False) as scope:
            yield scope
    finally:
        # Keras lists such weights, and the end of another scope would allocate them.
        keras.backend.clear_session(free_memory=False)


def counts(name: str, **fields: Any) -> tuple[int, int]:
    """Parameters and multiply-accumulates of a network of the catalogue."""
    spec = MODELS[name]
    cost = network_cost(name, tuple(fields.items()), spec.input_shape, spec.classes)
    return cost.params, cost.macs
