"""Losses, optimizers and learning-rate schedules.

Importing this package registers everything that a compiled and saved model may contain,
including the network's layers, so that ``keras.models.load_model`` finds it.
"""

from keras_resnet import catalogue as _models  # noqa: F401 - registers the layers
from training.optimisation import losses, optimizers, schedules

__all__ = ["losses", "optimizers", "schedules"]
