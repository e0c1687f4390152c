"""Residual units train: five orders of activations, six kinds of shortcut."""

import keras
import numpy as np
import pytest

from keras_resnet import create_model
from keras_resnet.families.branch import ORDERS
from keras_resnet.families.residual import SKIPS
from training.data.sources import memory

EPOCHS = 2


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    split = memory.digits("").splits["train"]
    return split.images.numpy().astype("float32") / 128 - 1, split.labels.numpy()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "skip"),
    [
        *((order, "identity") for order in ORDERS),
        *(("original", skip) for skip in SKIPS if skip != "identity"),
        ("full_preactivation", "exclusive_gating"),
    ],
)
def test_the_loss_falls_in_two_epochs(
    order: str, skip: str, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    model = create_model(
        "resnet20_cifar",
        input_shape=(8, 8, 1),
        depths=(1, 1, 1),
        order=order,
        skip=skip,
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss)
    fitted = model.fit(*digits, batch_size=64, epochs=EPOCHS, verbose=0)
    losses = fitted.history["loss"]
    assert losses == sorted(losses, reverse=True), f"{order}, {skip}: {losses}"
    # Exclusive gates open slowly from their bias of −6 and take the longest.
    share = 0.75 if skip == "exclusive_gating" else 0.5
    assert losses[-1] < share * np.log(10), "of what guessing costs"
