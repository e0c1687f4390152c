"""Compares training steps of networks with those of their peers, in turns.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --networks resnet20_cifar vgg16
    python benchmarks/training_step.py --torch-python OTHER_ENVIRONMENT/bin/python
    KERAS_BACKEND=jax python benchmarks/training_step.py --batch 256

All networks have the settings that their users get. The rate of ours is compared with
the machine's peak, where a step counts three times the multiply-accumulates of the
forward pass. On Keras' JAX backend, which does not need TensorFlow, XLA compiles the
step. The step runs on a GPU if the backend has one.
"""

import os
from dataclasses import dataclass
from functools import partial
from typing import Literal

from interleaved import ENVIRONMENT, Candidate, Results, Step, measure, report, work
from machine import PEAKS, describe, report_peaks
from peers import keras_applications, keras_step, torchvision, with_torchvision


@dataclass(frozen=True)
class Network:
    """One of our networks and its peers.

    Attributes:
        batch: Default number of images per step.
        side: Side of the images in pixels.
        keras: Name in keras.applications, if any.
        torchvision: Name in torchvision, if any.
        twin: Our network that equals torchvision's to the last stride; None: this one.
    """

    batch: int = 16
    side: int = 224
    keras: str | None = None
    torchvision: str | None = None
    twin: str | None = None


Name = Literal[
    "resnet50",
    "resnext50_32x4d",
    "densenet121",
    "vgg16",
    "resnet20_cifar",
    "resnet56_cifar",
]
NETWORKS: dict[Name, Network] = {
    "resnet50": Network(keras="ResNet50", torchvision="resnet50", twin="resnet50_v1_5"),
    "resnext50_32x4d": Network(torchvision="resnext50_32x4d"),
    "densenet121": Network(keras="DenseNet121", torchvision="densenet121"),
    "vgg16": Network(keras="VGG16", torchvision="vgg16"),
    "resnet20_cifar": Network(batch=128, side=32),
    "resnet56_cifar": Network(batch=128, side=32),
}


@dataclass(frozen=True)
class Options:
    """Compare training steps of networks with those of their peers."""

    networks: tuple[Name, ...] = ("resnet50",)
    """Names of the networks, one table each."""
    precisions: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    """Precision of the networks."""
    batch: int | None = None
    """Images per step; None: 16, or 128 for CIFAR networks."""
    rounds: int = 5
    """Timed steps per network."""
    torch_python: str | None = None
    """Python interpreter with torch and torchvision; None: omit torchvision."""
    torch_compile: bool = False
    """Also measure torchvision's network compiled by torch.compile."""


def ours(precision: str, batch: int, name: str, side: int) -> Step:
    from keras_resnet import create_model

    return keras_step(
        lambda: create_model(name), precision, batch, shape=(side, side, 3)
    )


def plain(precision: str, batch: int, name: str, side: int) -> Step:
    """Returns a step with Keras' own batch normalisation instead of ours."""
    import keras

    import keras_resnet.families.ops

    keras_resnet.families.ops.BatchNormalization = keras.layers.BatchNormalization
    return ours(precision, batch, name, side)


def contenders(name: Name) -> dict[str, Candidate]:
    """Returns a network and its peers as candidates."""
    network = NETWORKS[name]
    mine = partial(ours, side=network.side)
    found = {"ours": Candidate(f"residual-keras {name}", partial(mine, name=name))}
    if network.keras:
        build = partial(keras_applications, name=network.keras)
        title = f"keras.applications {network.keras}"
        found["keras"] = Candidate(f"{title}, its defaults", build, None)
        found["keras_onednn"] = Candidate(f"{title}, oneDNN on", build)
    else:
        build = partial(plain, name=name, side=network.side)
        found["plain"] = Candidate(f"{name} with Keras' batch normalisation", build)
    if network.twin:
        build = partial(mine, name=network.twin)
        found["twin"] = Candidate(f"residual-keras {network.twin}", build)
    if network.torchvision:
        build = partial(torchvision, name=network.torchvision)
        title = f"torchvision {network.torchvision}, channels_last"
        found["torchvision"] = Candidate(title, build, None)
        build = partial(build, compiled=True)
        found["torchvision_compiled"] = Candidate(f"{title}, compiled", build, None)
    return found


CONTENDERS = {
    f"{name}/{key}": contender
    for name in NETWORKS
    for key, contender in contenders(name).items()
} | PEAKS


def compare(name: Name, precision: str, options: Options) -> None:
    """Measures a network and its peers in one precision and prints a report."""
    import keras

    from keras_resnet import count_macs, create_model

    batch = options.batch or NETWORKS[name].batch
    chosen = with_torchvision(contenders(name), options.torch_python)
    if not options.torch_compile:
        chosen.pop("torchvision_compiled", None)
    if keras.backend.backend() != "tensorflow":
        chosen.pop("keras_onednn", None)
    entrants = {f"{name}/{key}": c for key, c in chosen.items()} | PEAKS
    measured = measure(__file__, entrants, (precision, batch), rounds=options.rounds)
    results: Results = {key: measured[f"{name}/{key}"] for key in chosen}
    side = NETWORKS[name].side
    title = f"training {name}, {side}×{side}, batch {batch}, {precision}"
    twin = "twin" if "twin" in chosen else "ours"
    ratios = [("ours", peer) for peer in ("keras", "keras_onednn", "plain")]
    ratios += [(twin, peer) for peer in ("torchvision", "torchvision_compiled")]
    report(title, batch, chosen, results, ratios)
    work_of = 6 * batch * count_macs(create_model(name))
    rates = {chosen["ours"].name: work_of / results["ours"].median}
    report_peaks(measured, rates)


def main() -> None:
    """Runs the command line."""
    import tyro

    from keras_resnet import command

    options = tyro.cli(Options)
    os.environ.update(ENVIRONMENT)
    command.load_backend()
    print(describe())
    for name in options.networks:
        for precision in options.precisions:
            compare(name, precision, options)


if __name__ == "__main__" and not work(CONTENDERS):
    main()
