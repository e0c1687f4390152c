"""How long ImageNet would take on many GPUs: arithmetic, nothing is measured.

    python benchmarks/imagenet_estimate.py
    python benchmarks/imagenet_estimate.py --rate 3580 --batch 128

A step is the time that a GPU takes for its images, and then, one after another though
much of it could overlap, what GPUs tell each other: the gradients, by a ring within
each machine and one between machines, and the sums that synchronised batch
normalisation takes over all images.
"""

import math
from dataclasses import dataclass
from typing import Any

IMAGES, VALIDATION = 1_281_167, 50_000
SUMS = 2  # each batch normalisation's: one exchange in either direction
PASSES = 3  # the arithmetic of training, in forward passes
GRADIENT = 4  # bytes of a weight's


@dataclass(frozen=True)
class Options:
    """Estimate the time that ImageNet takes."""

    network: str = "resnet50_v1_5"
    """Whose weights and batch normalisations are counted."""
    gpus: tuple[int, ...] = (1, 8, 64)
    """How many there are."""
    rate: float = 7157
    """Images a second that one trains; the default is what MLPerf's results come to
    for an H100."""
    peak: float = 989
    """TFLOP/s that one could compute at most (H100, bfloat16)."""
    batch: int = 256
    """Images of a step on each."""
    epochs: int = 90
    """Passes over the training images; the validation images are seen after each."""
    node: int = 8
    """GPUs of a machine."""
    inside: float = 450
    """GB/s that a GPU sends to others of its machine (NVLink 4)."""
    between: float = 50
    """GB/s that a GPU sends to other machines (400 Gb/s each)."""
    inside_latency: float = 20
    """Microseconds of a small sum over the GPUs of a machine."""
    between_latency: float = 50
    """Microseconds of one over all machines."""
    core: float = 675
    """JPEGs a second that a core reads and crops (docs/training.md)."""
    start: float = 120
    """Seconds until the first step: imports, tracing, compilation."""


@dataclass(frozen=True)
class Estimate:
    """One number of GPUs; seconds, of a step unless said.

    Attributes:
        gpus: Their number.
        compute: A GPU's own arithmetic.
        gradients: Their exchange.
        sums: Of batch normalisation.
        epoch: An epoch with its validation.
        total: All epochs.
        cores: That a machine needs to read the images as fast.
    """

    gpus: int
    compute: float
    gradients: float
    sums: float
    epoch: float
    total: float
    cores: float

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return self.compute + self.gradients + self.sums

    @property
    def efficiency(self) -> float:
        """Share of a step that computes."""
        return self.compute / self.step


def estimate(options: Options, gpus: int, weights: int, norms: int) -> Estimate:
    """Returns the arithmetic for so many GPUs."""
    local = min(gpus, options.node)
    machines = math.ceil(gpus / options.node)
    size = weights * GRADIENT / 1e9
    # In a ring of n each sends 2 (n − 1) / n of what is summed; between machines each
    # GPU its share.
    gradients = 2 * (local - 1) / local * size / options.inside
    gradients += 2 * (machines - 1) / machines * size / local / options.between
    latency = options.between_latency if machines > 1 else options.inside_latency
    sums = norms * SUMS * latency / 1e6 if gpus > 1 else 0.0
    compute = options.batch / options.rate
    steps = math.ceil(IMAGES / (gpus * options.batch))
    validation = VALIDATION / gpus / (PASSES * options.rate)
    step = compute + gradients + sums
    epoch = steps * step + validation
    return Estimate(
        gpus=gpus,
        compute=compute,
        gradients=gradients,
        sums=sums,
        epoch=epoch,
        total=options.start + options.epochs * epoch,
        cores=local * options.batch / step / options.core,
    )


def counted(name: str) -> tuple[int, int, int]:
    """Returns a network's weights, multiply-accumulates and batch normalisations."""
    from keras_resnet import create_model
    from keras_resnet.describe import count_macs, count_params
    from keras_resnet.layers import BatchNormalization, leaf_layers

    model: Any = create_model(name)
    norms = [x for x in leaf_layers(model) if isinstance(x, BatchNormalization)]
    return count_params(model), count_macs(model), len(norms)


def main() -> None:
    """Runs the command line."""
    import tyro

    options = tyro.cli(Options)
    weights, macs, norms = counted(options.network)
    flops = 2 * PASSES * macs
    share = flops * options.rate / (options.peak * 1e12)
    print(
        f"{options.network}: {weights:,} weights, {norms} batch normalisations; an "
        f"image is 2 · {PASSES} · {macs / 1e9:.2f} = {flops / 1e9:.1f} GFLOP, "
        f"{options.rate:,.0f} images/s are {share:.0%} of {options.peak:,.0f} TFLOP/s\n"
        f"{options.epochs} epochs of {IMAGES:,} images, {options.batch} a GPU\n"
        f"{'GPUs':>5} {'batch':>7} {'compute':>9} {'gradients':>10} {'sums':>8} "
        f"{'step':>8} {'computes':>9} {'epoch':>8} {'total':>9} {'cores':>6}"
    )
    for gpus in options.gpus:
        e = estimate(options, gpus, weights, norms)
        print(
            f"{gpus:>5} {gpus * options.batch:>7,} {e.compute * 1e3:>6.1f} ms "
            f"{e.gradients * 1e3:>7.2f} ms {e.sums * 1e3:>5.1f} ms "
            f"{e.step * 1e3:>5.1f} ms {e.efficiency:>9.0%} {e.epoch:>6.1f} s "
            f"{e.total / 60:>5.1f} min {e.cores:>6.0f}"
        )


if __name__ == "__main__":
    main()
