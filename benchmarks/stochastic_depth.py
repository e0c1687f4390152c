"""Compares training steps of ResNet-110 with and without stochastic depth.

python benchmarks/stochastic_depth.py
"""

from dataclasses import dataclass
from functools import partial

from interleaved import Candidate, Step, measure, report, work
from machine import describe
from peers import keras_step


@dataclass(frozen=True)
class Options:
    """Measure training steps with and without stochastic depth."""

    batch: int = 128
    """Images per step."""
    rounds: int = 15
    """Timed steps per network; each step draws the units to drop."""


def network(precision: str, batch: int, name: str) -> Step:
    from keras_resnet import create_model

    return keras_step(lambda: create_model(name), precision, batch, (32, 32, 3))


CONTENDERS = {
    name: Candidate(name, partial(network, name=name))
    for name in ("resnet110_sd_cifar", "resnet110_cifar")
}


def main() -> None:
    """Runs the command line."""
    import tyro

    options = tyro.cli(Options)
    print(describe())
    results = measure(
        __file__, CONTENDERS, ("float32", options.batch), rounds=options.rounds
    )
    title = f"training ResNet-110, batch {options.batch}, float32"
    ratios = (("resnet110_sd_cifar", "resnet110_cifar"),)
    report(title, options.batch, CONTENDERS, results, ratios)
    means = {key: sum(x.seconds) / len(x.seconds) for key, x in results.items()}
    share = means["resnet110_sd_cifar"] / means["resnet110_cifar"]
    print(f"  mean step with stochastic depth: {share:.2f} of that without")


if __name__ == "__main__" and not work(CONTENDERS):
    main()
