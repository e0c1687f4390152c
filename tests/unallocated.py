"""Networks whose weights have a shape and no value, which are quickly made."""

from typing import Any

from keras_resnet import MODELS
from keras_resnet.describe import network_cost
from keras_resnet.keras_internals import unallocated

__all__ = ["counts", "unallocated"]


def counts(name: str, **fields: Any) -> tuple[int, int]:
    """Parameters and multiply-accumulates of a network of the catalogue."""
    spec = MODELS[name]
    cost = network_cost(name, tuple(fields.items()), spec.input_shape, spec.classes)
    return cost.params, cost.macs
