"""Holds all uses of parts of Keras that are not public, each with its reason."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras.src.backend.common import global_state


@contextmanager
def unallocated() -> Iterator[keras.StatelessScope]:
    """Creates variables that have a shape and an initializer, and no value.

    Keras lists them, keeps their network alive and would allocate them at the end of
    any other such scope. Its ``clear_session`` forgets them, but also the dtype policy
    and all compiled kernels.
    """
    pending = global_state.get_global_attribute("uninitialized_variables") or []
    before = list(pending)
    try:
        with keras.StatelessScope(initialize_variables=False) as scope:
            yield scope
    finally:
        global_state.set_global_attribute("uninitialized_variables", before)


def sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns the layers that a layer or model holds itself.

    Only models have a public property for them, ``layers``.
    """
    return list(layer._flatten_layers(include_self=False, recursive=False))


def forget_sublayer(owner: keras.layers.Layer, layer: keras.layers.Layer) -> None:
    """Makes ``owner`` no longer hold ``layer``, which another layer replaces.

    Setting the attribute anew, or deleting it, keeps the old layer and its weights.
    """
    owner._layers.remove(layer)


def set_kernel(conv: keras.layers.Conv2D, kernel: keras.Variable) -> None:
    """Sets the weight behind ``conv.kernel``, for a kernel of another shape.

    The public property cannot be set, and adds low-rank weights to this one.
    """
    conv._kernel = kernel


def variable_index(optimizer: keras.optimizers.Optimizer, variable: Any) -> int:
    """Returns the position of a variable among those an optimizer was built with.

    ``update_step`` gets a ``tf.Variable``, which knows neither its layer nor its
    position. Keras' own example of a custom optimizer asks in this way.
    """
    return int(optimizer._get_variable_index(variable))
