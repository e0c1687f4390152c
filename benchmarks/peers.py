"""The training steps that are measured: of networks built by Keras and by PyTorch."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from turns import Contender, Step


def keras_step(
    build: Callable[[], object],
    precision: str,
    batch: int,
    shape: tuple[int, int, int] = (224, 224, 3),
) -> Step:
    """Returns a step of SGD with momentum on one batch of noise."""
    import keras
    import tensorflow as tf

    if precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    model = build()
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    images = tf.random.normal((batch, *shape))
    labels = tf.zeros((batch,), tf.int32)

    @tf.function
    def train() -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = tf.cast(model(images, training=True), tf.float32)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            )
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return lambda: train().numpy()


def torch_step(model: Any, precision: str, batch: int) -> Step:
    """Returns the same of a PyTorch network: channels last, autocast to bfloat16."""
    import torch

    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    images = torch.randn(batch, 3, 224, 224).to(memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.long)
    half = precision == "bfloat16"

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()

    return step


def keras_applications(precision: str, batch: int, name: str) -> Step:
    """Returns a step of a network of keras.applications."""
    import keras

    build = getattr(keras.applications, name)
    return keras_step(
        lambda: build(weights=None, classifier_activation=None), precision, batch
    )


def torchvision(precision: str, batch: int, name: str) -> Step:
    """Returns a step of a network of torchvision."""
    from torchvision import models

    return torch_step(getattr(models, name)(), precision, batch)


def with_torchvision(
    contenders: dict[str, Contender], python: str | None
) -> dict[str, Contender]:
    """Returns the contenders, ``torchvision`` run by that Python; without one, not."""
    found = {key: c for key, c in contenders.items() if key != "torchvision"}
    if python and "torchvision" in contenders:
        found["torchvision"] = replace(contenders["torchvision"], python=python)
    return found
