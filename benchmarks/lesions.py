"""Measures evaluating subsets of a network's units: with gates or by rebuilding.

python benchmarks/lesions.py
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import tyro


@dataclass(frozen=True)
class Options:
    """Measure subsets per second."""

    model: str = "resnet56_cifar"
    """Network with residual units."""
    images: int = 256
    """Number of images to evaluate each subset on."""
    rounds: int = 3
    """Timed subsets; both methods take turns."""


def main() -> None:
    """Runs the command line."""
    options = tyro.cli(Options)
    from keras_resnet import command

    command.load_backend("tensorflow")
    import numpy as np

    from keras_resnet import create_model
    from keras_resnet.analysis.lesions import Lesioned

    model = create_model(options.model, input_shape=(28, 28, 1))
    rng = np.random.default_rng(0)
    images = rng.normal(size=(options.images, 28, 28, 1)).astype("float32")
    batches = [(images, rng.integers(10, size=options.images))]
    lesioned = Lesioned(model, batches)
    lesioned.error()  # compiles

    def by_gates(unit: int) -> object:
        return lesioned.without([unit])

    def anew(unit: int) -> object:
        return Lesioned(model, batches).without([unit])

    seconds: dict[Callable[[int], object], list[float]] = {by_gates: [], anew: []}
    for unit in range(options.rounds):
        for method, times in seconds.items():
            began = time.perf_counter()
            method(unit)
            times.append(time.perf_counter() - began)
    gates, built = (statistics.median(times) for times in seconds.values())
    print(f"{options.model}, {options.images} images of 28×28 per subset")
    print(f"gates:      {1 / gates:6.2f} subsets per second")
    print(f"rebuilding: {1 / built:6.2f} subsets per second")
    print(f"ratio:      {built / gates:6.1f}")


if __name__ == "__main__":
    main()
