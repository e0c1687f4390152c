"""Selects the devices and the compiler of Keras' backend, with which a run computes.

Both modules define the same names, so type checkers read one of them.
"""

from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING or keras.backend.backend() == "tensorflow":
    from training.distributed import tensorflow_backend as backend
else:
    from training.distributed import jax_backend as backend

__all__ = ["backend"]
