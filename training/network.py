"""The networks of recipes and runs."""

from pathlib import Path

import keras

from keras_resnet.archive import load_model
from keras_resnet.layers import leaf_layers
from keras_resnet.models import create_model
from training import finetuning
from training.data.preprocessing import Preprocessing
from training.recipe import Recipe
from training.runs import Run
from training.writing import write_atomically


def initial_network(
    recipe: Recipe,
    prepared: Preprocessing,
    classes: int,
    policy: str = "float32",
    *,
    any_size: bool = False,
) -> keras.Model:
    """Returns a recipe's network, freshly initialised from its seed.

    Args:
        recipe: Names it.
        prepared: Gives the shape of its input.
        classes: Number of classes.
        policy: Keras' dtype policy.
        any_size: It takes images of any height and width.
    """
    keras.utils.set_random_seed(recipe.seed)
    size = (None, None) if any_size else prepared.size
    return create_model(
        recipe.model,
        input_shape=(*size, prepared.channels),
        classes=classes,
        dtype=policy,
        **recipe.spec_fields,
    )


def untrained_network(run: Run) -> keras.Model:
    """Returns a run's network as it was before the run, in float32."""
    network = _network(run)
    if run.recipe.weights:
        finetuning.start_from(network, run.recipe.weights)
    return network


def trained_network(run: Run) -> keras.Model:
    """Returns the trained network of a complete run, in float32."""
    return in_float32(run, load_model(run.model))


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


def in_float32(run: Run, network: keras.Model) -> keras.Model:
    """Returns a run's network with every layer in float32, as its weights are.

    It is evaluated, exported and verified so.

    Args:
        run: Where the network comes from.
        network: The network, in whatever precision it was trained; returned itself
            where that is float32.
    """
    if run.config["device"]["precision"] == "float32":
        return network
    exact = _network(run)
    exact.set_weights(network.get_weights())
    return exact


def _network(run: Run) -> keras.Model:
    config = run.config
    prepared = Preprocessing.from_dict(config["preprocessing"])
    return initial_network(run.recipe, prepared, len(config["dataset"]["labels"]))
