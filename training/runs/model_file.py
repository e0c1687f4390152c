"""Writes the ``.keras`` files of a run."""

from pathlib import Path

import keras

from keras_resnet.layers import leaf_layers
from training.storage.writing import write_atomically


def save_model(model: keras.Model, path: Path) -> None:
    """Writes a network as a ``.keras`` file atomically.

    Without its optimizer, and with nothing frozen: what a recipe keeps as it is, who
    trains the network further may not want to.
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
