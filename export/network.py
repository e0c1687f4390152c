"""A run's network as it is exported and verified: in float32."""

import keras

from keras_resnet.models import create_model
from training.runs import Run


def in_float32(run: Run, network: keras.Model) -> keras.Model:
    """Returns a run's network with every layer in float32, as its weights are.

    Args:
        run: Where the network comes from.
        network: The network, in whatever precision it was trained.
    """
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
