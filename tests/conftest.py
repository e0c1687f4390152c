"""Fixtures that several test files share."""

import os
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _seeded() -> None:
    keras.utils.set_random_seed(0)


@pytest.fixture
def enliven() -> Callable[[keras.Model], keras.Model]:
    """Gives every batch norm random γ, β and statistics, as training would.

    In a fresh network they are ones and zeros, and a comparison of two such networks
    proves little.
    """

    def enliven(model: keras.Model) -> keras.Model:
        rng = np.random.default_rng(0)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                for weight in layer.weights:
                    spread = rng.uniform(0.5, 1.5, weight.shape)
                    centred = weight.name in ("beta", "moving_mean")
                    weight.assign(spread - 1 if centred else spread)
        return model

    return enliven
