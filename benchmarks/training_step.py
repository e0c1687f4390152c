"""Compares training steps of networks with their peers' and variants', in turns.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --networks resnet20_cifar vgg16
    python benchmarks/training_step.py --networks densenet121 --variants
    python benchmarks/training_step.py --torch-python OTHER_ENVIRONMENT/bin/python
    KERAS_BACKEND=jax python benchmarks/training_step.py --batch 256

All networks have the settings that their users get. The rate of ours is compared with
the machine's peak, where a step counts three times the multiply-accumulates of the
forward pass. On Keras' JAX backend, which does not need TensorFlow, XLA compiles the
step. The step runs on a GPU if the backend has one.
"""

import os
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from interleaved import ENVIRONMENT, Candidate, Results, Step, measure, report, work
from machine import PEAKS, describe, report_peaks
from peers import (
    keras_applications,
    keras_step,
    torchvision_candidates,
    with_torchvision,
)

CIFAR = (32, 32, 3)
# Keras' layer in the place of ours, by name.
KERAS = {"BatchNormalization": "BatchNormalization", "GroupedConv2D": "Conv2D"}


@dataclass(frozen=True)
class Network:
    """One of our networks, its peers and its variants.

    Attributes:
        batch: Default number of images per step.
        shape: Shape of an image.
        keras: Name in keras.applications, if any.
        torchvision: Name in torchvision, if any.
        twin: Our network that equals torchvision's to the last stride; None: this one.
        variants: Arguments of ``ours`` for each variant.
    """

    batch: int = 16
    shape: tuple[int, int, int] = (224, 224, 3)
    keras: str | None = None
    torchvision: str | None = None
    twin: str | None = None
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)


Name = Literal[
    "resnet50",
    "resnext50_32x4d",
    "densenet121",
    "vgg16",
    "resnet20_cifar",
    "resnet56_cifar",
    "resnet110_cifar",
    "resnet110_sd_cifar",
]
NETWORKS: dict[Name, Network] = {
    "resnet50": Network(keras="ResNet50", torchvision="resnet50", twin="resnet50_v1_5"),
    "resnext50_32x4d": Network(
        torchvision="resnext50_32x4d",
        variants={
            "form A": {"form": "A"},
            "form B": {"form": "B"},
            "Keras' grouped convolution": {"replaced": "GroupedConv2D"},
        },
    ),
    "densenet121": Network(
        keras="DenseNet121",
        torchvision="densenet121",
        variants={"memory_efficient": {"memory_efficient": True}},
    ),
    "vgg16": Network(keras="VGG16", torchvision="vgg16"),
    "resnet20_cifar": Network(128, CIFAR),
    "resnet56_cifar": Network(128, CIFAR),
    "resnet110_cifar": Network(128, CIFAR),
    "resnet110_sd_cifar": Network(
        128, CIFAR, variants={"without stochastic depth": {"survival": 1.0}}
    ),
}


@dataclass(frozen=True)
class Options:
    """Compare training steps of networks with those of their peers and variants."""

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
    variants: bool = False
    """Also measure the variants of the networks."""


def ours(
    precision: str,
    batch: int,
    name: str,
    shape: tuple[int, int, int],
    *,
    steps: int = 1,
    replaced: str | None = None,
    **overrides: Any,
) -> Step:
    """Returns steps of our network, with Keras' own layer instead of ``replaced``."""
    from keras_resnet import create_model

    if replaced:
        import keras

        import keras_resnet.families.ops as layers

        setattr(layers, replaced, getattr(keras.layers, KERAS[replaced]))
    build = partial(create_model, name, input_shape=shape, **overrides)
    return keras_step(build, precision, batch, shape, steps)


def contenders(name: Name) -> dict[str, Candidate]:
    """Returns a network, its peers and its variants as candidates."""
    network = NETWORKS[name]
    mine = partial(ours, shape=network.shape)
    found = {"ours": Candidate(f"residual-keras {name}", partial(mine, name=name))}
    if network.keras:
        build = partial(keras_applications, name=network.keras)
        title = f"keras.applications {network.keras}"
        found["keras"] = Candidate(f"{title}, its defaults", build, None)
        found["keras_onednn"] = Candidate(f"{title}, oneDNN on", build)
    else:
        build = partial(mine, name=name, replaced="BatchNormalization")
        found["plain"] = Candidate(f"{name} with Keras' batch normalisation", build)
    if network.twin:
        build = partial(mine, name=network.twin)
        found["twin"] = Candidate(f"residual-keras {network.twin}", build)
    if network.torchvision:
        peers = torchvision_candidates(network.torchvision)
        found["torchvision"], found["torchvision_compiled"] = peers
    for key, arguments in network.variants.items():
        build = partial(mine, name=name, **arguments)
        found[key] = Candidate(f"residual-keras {name}, {key}", build)
    return found


CONTENDERS = {
    f"{name}/{key}": contender
    for name in NETWORKS
    for key, contender in contenders(name).items()
} | PEAKS


def compare(name: Name, precision: str, options: Options) -> None:
    """Measures a network and the others in one precision and prints a report."""
    import keras

    from keras_resnet import count_macs, create_model

    network = NETWORKS[name]
    batch = options.batch or network.batch
    optional = {
        "torchvision_compiled": options.torch_compile,
        "keras_onednn": keras.backend.backend() == "tensorflow",
    } | dict.fromkeys(network.variants, options.variants)
    found = with_torchvision(contenders(name), options.torch_python)
    chosen = {key: c for key, c in found.items() if optional.get(key, True)}
    entrants = {f"{name}/{key}": c for key, c in chosen.items()} | PEAKS
    measured = measure(__file__, entrants, (precision, batch), rounds=options.rounds)
    results: Results = {key: measured[f"{name}/{key}"] for key in chosen}
    side = network.shape[0]
    title = f"training {name}, {side}×{side}, batch {batch}, {precision}"
    twin = "twin" if "twin" in chosen else "ours"
    ratios = [("ours", peer) for peer in ("keras", "keras_onednn", "plain")]
    ratios += [(twin, peer) for peer in ("torchvision", "torchvision_compiled")]
    ratios += [("ours", variant) for variant in network.variants]
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
