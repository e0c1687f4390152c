"""Writes the ``.keras`` files of a run."""

from pathlib import Path

import keras

from keras_resnet.layers import leaf_layers
from training.storage.writing import write_atomically


def save_model(model: keras.Model, path: Path) -> None:
    """Writes a model to a ``.keras`` file atomically.

    The file has no optimizer and no frozen layers: a user who trains the model further
    may not want the layers frozen that the recipe froze.
    """
    optimizer, model.optimizer = model.optimizer, None
    frozen = [layer for layer in leaf_layers(model) if not layer.trainable]
    try:
        for layer in frozen:
            layer.trainable = True
        write_atomically(path, model.save)
    finally:
        model.optimizer = optimizer
        for layer in frozen:
            layer.trainable = False
