"""What a step minimises, how, and at which rate.

Importing this registers all that a compiled and saved model may hold, the network's
layers included, so that ``keras.models.load_model`` finds it.
"""

from keras_resnet import catalogue as _models  # noqa: F401 - registers the layers
from training.optimisation import losses, optimizers, schedules

__all__ = ["losses", "optimizers", "schedules"]
