"""Loads trained weights into a model and freezes parts of it."""

import json
import warnings
from pathlib import Path

import keras

from keras_resnet.errors import UsageError
from keras_resnet.layer_names import HEAD
from keras_resnet.layers import Nested, leaf_layers
from keras_resnet.weights import load_file, load_imagenet

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]

# Mean and deviation, for pixels 0–255, with which published weights were trained.
TORCHVISION: Normalisation = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
CAFFE: Normalisation = ((123.68, 116.779, 103.939), (1.0, 1.0, 1.0))
PLUS_MINUS_ONE: Normalisation = ((127.5,) * 3, (127.5,) * 3)
TORCH_FILES = (".pth", ".pt", ".safetensors")


def start_from(model: keras.Model, weights: str) -> list[str]:
    """Loads weights into a model and returns messages for the user.

    If the network of keras.applications expects blue first, the first kernel is
    reversed so that it expects red first, like all data here.

    Raises:
        UsageError: The weights are missing or do not fit.
    """
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("ignore")  # NumPy warns about Keras once per weight
        warnings.simplefilter("always", UserWarning)
        if weights == "imagenet":
            load_imagenet(model)
            if _imagenet_normalisation(model.name) == CAFFE:
                swap_red_and_blue(model)
        else:
            load_file(model, weights)
    return [str(warning.message) for warning in noted]


def normalisation(weights: str, model: str, channels: int) -> Normalisation | None:
    """Returns the mean and deviation used to train weights; None: unknown.

    Args:
        weights: ``"imagenet"`` or a file; for a run's file, its config.json is read.
        model: Name of the network.
        channels: Number of channels of the images, 1 or 3.
    """
    found: Normalisation | None
    if weights == "imagenet":
        found = _imagenet_normalisation(model)
    elif weights.endswith(TORCH_FILES):
        found = TORCHVISION
    else:
        found = _runs_normalisation(Path(weights).parent / "config.json")
    return found if found and len(found[0]) == channels else None


def _runs_normalisation(config: Path) -> Normalisation | None:
    """Reads the values from a run's config; None: it is missing or not a run's."""
    try:
        stored = json.loads(config.read_text("utf-8"))["preprocessing"]
        return tuple(stored["mean"]), tuple(stored["deviation"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _imagenet_normalisation(model: str) -> Normalisation:
    """Returns the values that keras.applications uses for its network."""
    if model.startswith("densenet"):
        return TORCHVISION
    return PLUS_MINUS_ONE if model.endswith("_v2_keras") else CAFFE


def swap_red_and_blue(model: keras.Model) -> None:
    """Makes the first convolution expect channels in the opposite order."""
    first = next(
        layer for layer in leaf_layers(model) if isinstance(layer, keras.layers.Conv2D)
    )
    first.kernel.assign(keras.ops.flip(first.kernel, 2))


def freeze(model: keras.Model, parts: tuple[str, ...]) -> None:
    """Freezes parts of a model, including their batch-norm statistics.

    A part is a prefix of layer names: ``stem``, ``stage1``, ``stage1_block2``; ``all``
    is everything except the head.

    Raises:
        UsageError: The model has no such part.
    """
    for layer in frozen_layers(model, parts):
        layer.trainable = False  # makes batch norms use their moving statistics


def frozen_layers(
    model: keras.Model, parts: tuple[str, ...]
) -> list[keras.layers.Layer]:
    """Returns the layers with weights that ``freeze`` freezes.

    Raises:
        UsageError: The model has no such part.
    """
    layers = [
        layer
        for layer in leaf_layers(model)
        if layer.weights and not isinstance(layer, Nested)
    ]
    frozen = []
    for part in parts:
        found = [layer for layer in layers if _belongs(layer.name, part)]
        if not found:
            known = dict.fromkeys(layer.name.split("_")[0] for layer in layers)
            raise UsageError(
                f"freeze must be 'all', a layer or a part of {model.name} "
                f"({', '.join(known)}), got {part!r}"
            )
        frozen += found
    return frozen


def _belongs(layer: str, part: str) -> bool:
    if part == "all":
        return layer != HEAD
    return layer == part or layer.startswith(f"{part}_")
