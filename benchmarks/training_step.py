"""Training ResNet-50 at 224 pixels: ours beside its peers, taking turns.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --torch-python OTHER_ENVIRONMENT/bin/python

Every network trains by SGD with momentum on one batch of noise, in a process of its own
with the settings its users get. After a warm-up they take turns, step by step (A B C A
B C …), so that a machine whose speed drifts drifts for all; the others wait meanwhile.
Printed are images a second and the ratios of the medians.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

Step = Callable[[], object]  # trains one batch
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Options:
    """Measure training steps of ResNet-50 beside its peers'."""

    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    """Arithmetic of the networks."""
    batch: int = 16
    """Images a step."""
    rounds: int = 5
    """Steps of each network that count."""
    warmup: int = 2
    """Steps of each before them."""
    torch_python: str | None = None
    """A Python that has torch and torchvision; None: that peer is left out."""


@dataclass(frozen=True)
class Contender:
    """A network to measure.

    Attributes:
        name: For people.
        make: Makes its training step, of precision and batch.
        onednn: Value of TF_ENABLE_ONEDNN_OPTS; None leaves TensorFlow its default.
    """

    name: str
    make: Callable[[str, int], Step]
    onednn: str | None = None


def ours(precision: str, batch: int) -> Step:
    from keras_resnet import create_model

    return _keras_step(lambda: create_model("resnet50"), precision, batch)


def ours_v1_5(precision: str, batch: int) -> Step:
    from keras_resnet import create_model

    return _keras_step(lambda: create_model("resnet50_v1_5"), precision, batch)


def keras_applications(precision: str, batch: int) -> Step:
    import keras

    return _keras_step(
        lambda: keras.applications.ResNet50(weights=None, classifier_activation=None),
        precision,
        batch,
    )


def torchvision(precision: str, batch: int) -> Step:
    import torch
    from torchvision.models import resnet50

    model = resnet50().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    images = torch.randn(batch, 3, 224, 224).to(memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.long)

    def step() -> None:
        optimizer.zero_grad()
        half = precision == "bfloat16"
        with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()

    return step


CONTENDERS = {
    "ours": Contender("keras-resnet resnet50, as training.fit sets it", ours, "1"),
    "keras": Contender("keras.applications ResNet50, its defaults", keras_applications),
    "keras_onednn": Contender(
        "keras.applications ResNet50, oneDNN on", keras_applications, "1"
    ),
    "ours_v1_5": Contender("keras-resnet resnet50_v1_5", ours_v1_5, "1"),
    "torchvision": Contender("torchvision resnet50, channels_last", torchvision),
}
RATIOS = (("ours", "keras"), ("ours", "keras_onednn"), ("ours_v1_5", "torchvision"))


def _keras_step(build: Callable[[], object], precision: str, batch: int) -> Step:
    import keras
    import tensorflow as tf

    if precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    model = build()
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    images = tf.random.normal((batch, 224, 224, 3))
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


class Worker:
    """A contender in a process of its own, which trains a step when told to."""

    def __init__(self, key: str, precision: str, options: Options) -> None:
        contender = CONTENDERS[key]
        python = options.torch_python if key == "torchvision" else sys.executable
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        environment.pop("TF_ENABLE_ONEDNN_OPTS", None)
        if contender.onednn is not None:
            environment["TF_ENABLE_ONEDNN_OPTS"] = contender.onednn
        self._process = subprocess.Popen(
            [str(python), __file__, "--worker", key, precision, str(options.batch)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def step(self) -> float:
        """Has the process train a step; returns the seconds that it took."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write("step\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def work(key: str, precision: str, batch: int) -> None:
    """Runs in the worker: trains a step for every line, answers with the seconds."""
    step = CONTENDERS[key].make(precision, batch)
    for _ in sys.stdin:
        began = time.perf_counter()
        step()
        print(time.perf_counter() - began, flush=True)


def measure(precision: str, options: Options) -> None:
    """Measures and prints one precision's figures."""
    keys = [k for k in CONTENDERS if k != "torchvision" or options.torch_python]
    workers = {key: Worker(key, precision, options) for key in keys}
    for worker in workers.values():
        for _ in range(options.warmup):
            worker.step()
    seconds: dict[str, list[float]] = {key: [] for key in keys}
    for _ in range(options.rounds):
        for key, worker in workers.items():
            seconds[key].append(worker.step())
    for worker in workers.values():
        worker.close()
    report(precision, options.batch, seconds)


def report(precision: str, batch: int, seconds: dict[str, list[float]]) -> None:
    """Prints images a second and the ratios of the medians."""
    print(f"\ntraining, 224×224, batch {batch}, {precision}: images/s")
    for key, times in seconds.items():
        best = batch / min(times)
        median = batch / statistics.median(times)
        print(f"  {CONTENDERS[key].name:48} best {best:6.2f}  median {median:6.2f}")
    for mine, peer in RATIOS:
        if peer in seconds:
            ratio = statistics.median(seconds[peer]) / statistics.median(seconds[mine])
            print(f"  {CONTENDERS[mine].name} / {CONTENDERS[peer].name}: {ratio:.2f}×")


def main() -> None:
    """Runs the command line."""
    import tyro

    options = tyro.cli(Options)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    for precision in options.precisions:
        measure(precision, options)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
