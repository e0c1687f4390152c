"""Builds the measured training steps of Keras and PyTorch networks."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from interleaved import Candidate, Step


def keras_step(
    build: Callable[[], Any],
    precision: str,
    batch: int,
    shape: tuple[int, int, int] = (224, 224, 3),
    steps: int = 1,
) -> Step:
    """Returns SGD steps with momentum on a batch of noise in Keras' backend.

    Args:
        build: Returns the model.
        precision: ``float32`` or ``bfloat16``.
        batch: Images per step.
        shape: Shape of an image.
        steps: Training steps of a call, which waits for the device only at its end.
    """
    import keras

    if precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    model = build()
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    images = keras.random.normal((batch, *shape))
    labels = keras.ops.zeros((batch,), "int32")
    makers = {"tensorflow": _tensorflow_step, "jax": _jax_step}
    step = makers[keras.backend.backend()](model, optimizer, images, labels)
    return _repeated(step, steps)


def _repeated(start: Callable[[], Any], steps: int) -> Step:
    """Returns a call that starts steps and waits for the loss of the last."""

    def step() -> float:
        for _ in range(steps):
            loss = start()
        return float(loss)

    return step


def _loss(labels: Any, logits: Any) -> Any:
    from keras import ops

    logits = ops.cast(logits, "float32")
    return ops.mean(
        ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    )


def _tensorflow_step(
    model: Any, optimizer: Any, images: Any, labels: Any
) -> Callable[[], Any]:
    import tensorflow as tf

    from keras_resnet.layers import gradients_by_products
    from keras_resnet.network import Network
    from training.distributed.tensorflow_backend import detect_hardware

    # As training.fit does, on CPUs with AMX.
    by_products = isinstance(model, Network) and detect_hardware().amx

    @tf.function(autograph=False)
    def train() -> tf.Tensor:
        with gradients_by_products(model, by_products), tf.GradientTape() as tape:
            loss = _loss(labels, model(images, training=True))
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return train


def _jax_step(
    model: Any, optimizer: Any, images: Any, labels: Any
) -> Callable[[], Any]:
    """Returns a step that XLA compiles as a whole; it updates the state in place."""
    import jax

    def forward(trainable: Any, others: Any, images: Any, labels: Any) -> Any:
        logits, others = model.stateless_call(trainable, others, images, training=True)
        return _loss(labels, logits), others

    @partial(jax.jit, donate_argnums=0)
    def train(state: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        trainable, others, slots = state
        compute = jax.value_and_grad(forward, has_aux=True)
        (loss, others), gradients = compute(trainable, others, images, labels)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return (trainable, others, slots), loss

    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        optimizer.variables,
    )
    state: Any = tuple([v.value for v in variables] for variables in groups)

    def step() -> Any:
        nonlocal state
        state, loss = train(state, images, labels)
        return loss

    return step


def torch_step(
    model: Any, precision: str, batch: int, side: int = 224, steps: int = 1
) -> Step:
    """Returns the same steps of a PyTorch network: channels last, bfloat16 autocast."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True  # the fastest convolutions, as XLA chooses
    model = model.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    images = torch.randn(batch, 3, side, side, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.long, device=device)
    half = precision == "bfloat16"

    def step() -> Any:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return _repeated(step, steps)


def keras_applications(precision: str, batch: int, name: str) -> Step:
    """Returns a step of a network from keras.applications."""
    import keras

    build = getattr(keras.applications, name)
    return keras_step(
        lambda: build(weights=None, classifier_activation=None), precision, batch
    )


def torchvision(
    precision: str, batch: int, name: str, *, compiled: bool = False, **size: int
) -> Step:
    """Returns steps of a network from torchvision; ``size`` as for ``torch_step``."""
    import torch
    from torchvision import models

    network = getattr(models, name)()
    network = torch.compile(network) if compiled else network
    return torch_step(network, precision, batch, **size)


def torchvision_candidates(name: str, **size: int) -> tuple[Candidate, Candidate]:
    """Returns ``torchvision`` as it is, and compiled by torch.compile."""
    title = f"torchvision {name}, channels_last"
    build = partial(torchvision, name=name, **size)
    compiled = partial(build, compiled=True)
    return (
        Candidate(title, build, None),
        Candidate(f"{title}, compiled", compiled, None),
    )


def torchvision_loader(folder: str, count: int) -> Step:
    """Returns a step that reads ``count`` images as torchvision's ImageNet recipe does.

    Args:
        folder: The image folder, and after ``|`` what torchvision does not use.
        count: Number of images in it.
    """
    import torch
    from torchvision import datasets, transforms

    crops = transforms.Compose(
        [
            transforms.RandomResizedCrop(224),
            transforms.RandomHorizontalFlip(),
            transforms.PILToTensor(),
        ]
    )
    loader = torch.utils.data.DataLoader(
        datasets.ImageFolder(folder.split("|", maxsplit=1)[0], crops),
        batch_size=64,
        shuffle=True,
        num_workers=os.cpu_count() or 1,
        persistent_workers=True,
    )

    def step() -> None:
        assert sum(len(labels) for _, labels in loader) == count

    return step


def with_torchvision(
    contenders: dict[str, Candidate], python: str | None
) -> dict[str, Candidate]:
    """Returns the contenders; ``python`` runs torchvision's, None omits them."""
    found = {}
    for key, contender in contenders.items():
        if not key.startswith("torchvision"):
            found[key] = contender
        elif python:
            found[key] = replace(contender, python=python)
    return found
