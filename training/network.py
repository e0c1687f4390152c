"""A run's network as it is evaluated, exported and verified: in float32."""

from typing import TYPE_CHECKING

from keras_resnet.models import create_model, load_model
from training.runs import Run

if TYPE_CHECKING:
    import keras


def in_float32(run: Run, network: "keras.Model") -> "keras.Model":
    """Returns a run's network with every layer in float32, as its weights are.

    Args:
        run: Where the network comes from.
        network: The network, in whatever precision it was trained; returned itself
            where that is float32.
    """
    if run.config["device"]["precision"] == "float32":
        return network
    facts = run.config["model"]
    model = create_model(
        facts["name"],
        input_shape=tuple(facts["input_shape"]),
        classes=facts["classes"],
        dtype="float32",
        **run.recipe.spec_fields,
    )
    model.set_weights(network.get_weights())
    return model


def trained_network(run: Run) -> "keras.Model":
    """Returns the trained network of a complete run, in float32."""
    return in_float32(run, load_model(run.model))
