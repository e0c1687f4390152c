"""Holds the only private part of Keras on which training relies."""

from typing import Any

import keras


def variable_index(optimizer: keras.optimizers.Optimizer, variable: Any) -> int:
    """Returns the position of a variable among those an optimizer was built with.

    ``update_step`` gets a ``tf.Variable``, which knows neither its layer nor its
    position. Keras' own example of a custom optimizer asks in this way.
    """
    return int(optimizer._get_variable_index(variable))
