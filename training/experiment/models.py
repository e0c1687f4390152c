"""Builds and loads the models of recipes and runs."""

import keras

from keras_resnet.archive import load_model
from keras_resnet.models import create_model
from training.data.preprocessing import Preprocessing
from training.experiment import finetuning
from training.recipes.recipe import Recipe
from training.runs.run import Run


def build_model(
    recipe: Recipe,
    preprocessing: Preprocessing,
    classes: int,
    policy: str = "float32",
    *,
    any_size: bool = False,
) -> keras.Model:
    """Returns a recipe's model, freshly initialised from its seed.

    Args:
        recipe: Gives the network and the seed.
        preprocessing: Gives the input shape.
        classes: Number of classes.
        policy: Keras' dtype policy.
        any_size: Whether the model accepts images of any height and width.
    """
    keras.utils.set_random_seed(recipe.seed)
    size = (None, None) if any_size else preprocessing.size
    return create_model(
        recipe.model,
        input_shape=(*size, preprocessing.channels),
        classes=classes,
        dtype=policy,
        **recipe.spec_fields,
    )


def load_untrained_model(run: Run) -> keras.Model:
    """Returns a run's model as it was before training, in float32."""
    network = _network(run)
    if run.recipe.weights:
        finetuning.start_from(network, run.recipe.weights)
    return network


def load_trained_model(run: Run) -> keras.Model:
    """Returns the trained model of a complete run, in float32."""
    return to_float32(run, load_model(run.model))


def to_float32(run: Run, network: keras.Model) -> keras.Model:
    """Returns a run's model with every layer in float32, like its weights.

    Models are evaluated, exported and verified in this form.

    Args:
        run: The model's run.
        network: The model in the precision of its training; it is returned itself if
            that is float32.
    """
    if run.config["device"]["precision"] == "float32":
        return network
    exact = _network(run)
    exact.set_weights(network.get_weights())
    return exact


def _network(run: Run) -> keras.Model:
    config = run.config
    preprocessing = Preprocessing.from_dict(config["preprocessing"])
    return build_model(run.recipe, preprocessing, len(config["dataset"]["labels"]))
