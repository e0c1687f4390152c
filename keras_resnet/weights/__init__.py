"""Loads existing weights into the networks of this library.

Every function checks names and shapes before it changes anything. If only the number
of classes differs, it keeps the fresh head and emits a warning.
"""

from keras_resnet.weights.files import load_file, load_imagenet
from keras_resnet.weights.keras_applications import load_keras_applications
from keras_resnet.weights.torch import load_torch
from keras_resnet.weights.transfer import transfer

__all__ = [
    "load_file",
    "load_imagenet",
    "load_keras_applications",
    "load_torch",
    "transfer",
]
