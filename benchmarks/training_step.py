"""Training ResNet-50 at 224: ours beside its peers, in one run, taking turns.

    python benchmarks/training_step.py --precision float32 --rounds 5

Each network trains by the same SGD with momentum on the same batch of noise; after a
warm-up the networks take turns (A B C A B C …), so that a machine whose speed drifts
drifts for all. Printed: images a second, best and median, and the ratio of medians.

Peers: keras.applications' ResNet50 (Keras' own layers), and torchvision's resnet50
where PyTorch is installed (channels_last; autocast for bfloat16).
"""

import contextlib
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import tyro

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

Step = Callable[[], float]  # trains one batch, returns its loss


@dataclass(frozen=True)
class Options:
    """Measure training steps of ResNet-50 beside its peers'."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of all networks."""
    batch: int = 16
    """Images a step."""
    rounds: int = 5
    """Steps of each network that count."""
    warmup: int = 2
    """Steps of each before them."""
    peers: bool = True
    """Measure the peers too."""


def ours(options: Options) -> Step:
    from keras_resnet import create_model

    # v1.5 is what the peers call ResNet-50 in effect: the same multiply-accumulates as
    # torchvision's. keras.applications strides in the 1×1, as the paper's row does.
    return _keras_step(
        lambda dtype: create_model("resnet50_v1_5", dtype=dtype), options
    )


def ours_v1(options: Options) -> Step:
    from keras_resnet import create_model

    return _keras_step(lambda dtype: create_model("resnet50", dtype=dtype), options)


def keras_applications(options: Options) -> Step:
    import keras

    def build(dtype: str) -> keras.Model:
        keras.config.set_dtype_policy(dtype)
        model = keras.applications.ResNet50(weights=None, classifier_activation=None)
        keras.config.set_dtype_policy("float32")
        return model

    return _keras_step(build, options)


def torchvision(options: Options) -> Step:
    import torch
    from torchvision.models import resnet50

    torch.set_num_threads(os.cpu_count() or 1)
    model = resnet50().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    images = torch.randn(options.batch, 3, 224, 224)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.zeros(options.batch, dtype=torch.long)
    half = options.precision == "bfloat16"

    def step() -> float:
        optimizer.zero_grad()
        mixed = (
            torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext()
        )
        with mixed:
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _keras_step(build: Callable[[str], object], options: Options) -> Step:
    import keras
    import tensorflow as tf

    policy = "mixed_bfloat16" if options.precision == "bfloat16" else "float32"
    model = build(policy)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    images = tf.random.normal((options.batch, 224, 224, 3))
    labels = tf.zeros((options.batch,), tf.int32)

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

    return lambda: float(train())


CONTENDERS = {
    "keras-resnet resnet50 (stride in the 1×1)": ours_v1,
    "keras.applications ResNet50 (stride in the 1×1)": keras_applications,
    "keras-resnet resnet50_v1_5 (stride in the 3×3)": ours,
    "torchvision resnet50 (stride in the 3×3)": torchvision,
}


def main() -> None:
    options = tyro.cli(Options)
    steps: dict[str, Step] = {}
    for name, make in CONTENDERS.items():
        if not options.peers and make in (keras_applications, torchvision):
            continue
        try:
            steps[name] = make(options)
        except ImportError as error:
            print(f"left out: {name} ({error})")
    for step in steps.values():
        for _ in range(options.warmup):
            step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
    _report(options, seconds)


def _report(options: Options, seconds: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"training, 224×224, batch {options.batch}, {options.precision}, images/s")
    for name, times in seconds.items():
        best, median = options.batch / min(times), options.batch / medians[name]
        print(f"  {name:48} best {best:7.2f}  median {median:7.2f}")
    names = list(seconds)
    for mine, peer in zip(names[::2], names[1::2], strict=False):
        print(f"  {mine} / {peer}: {medians[peer] / medians[mine]:.2f}×")


if __name__ == "__main__":
    main()
