"""Estimates the training time on ImageNet with many GPUs, without measuring anything.

    python benchmarks/imagenet_estimate.py
    python benchmarks/imagenet_estimate.py --rate 3580 --batch 128

A step consists of a GPU's computation for its images and of two exchanges: gradients,
by a ring within each machine and one between machines, and the sums of synchronised
batch normalisation over all images. All are added up, although much could overlap.
"""

import math
from dataclasses import dataclass
from typing import Any

IMAGES, VALIDATION = 1_281_167, 50_000
SUMS = 2  # exchanges per batch normalisation: one in each direction
PASSES = 3  # cost of a training step in forward passes
GRADIENT = 4  # bytes per weight


@dataclass(frozen=True)
class Options:
    """Estimate the training time on ImageNet."""

    network: str = "resnet50_v1_5"
    """Network whose weights and batch normalisations are counted."""
    gpus: tuple[int, ...] = (1, 8, 64)
    """Numbers of GPUs."""
    rate: float = 7157
    """Training images per second and GPU; the default follows from MLPerf's results
    for an H100."""
    peak: float = 989
    """Peak TFLOP/s of a GPU (H100, bfloat16)."""
    batch: int = 256
    """Images per step and GPU."""
    epochs: int = 90
    """Passes over the training images, each followed by validation."""
    node: int = 8
    """GPUs per machine."""
    inside: float = 450
    """GB/s that a GPU sends within its machine (NVLink 4)."""
    between: float = 50
    """GB/s that a GPU sends to other machines (400 Gb/s each)."""
    inside_latency: float = 20
    """Microseconds for a small sum over the GPUs of a machine."""
    between_latency: float = 50
    """Microseconds for a small sum over all machines."""
    core: float = 675
    """JPEGs per second that a core reads and crops (docs/performance.md)."""
    start: float = 120
    """Seconds until the first step: imports, tracing, compilation."""


@dataclass(frozen=True)
class Estimate:
    """Estimate for one number of GPUs; times are in seconds.

    Attributes:
        gpus: Number of GPUs.
        compute: Computation of a step on one GPU.
        gradients: Exchange of the gradients in a step.
        sums: Sums of batch normalisation in a step.
        epoch: An epoch with its validation.
        total: All epochs and the start.
        cores: Number of cores that a machine needs to read the images as fast.
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
        """Duration of a step."""
        return self.compute + self.gradients + self.sums

    @property
    def efficiency(self) -> float:
        """Share of a step that is computation."""
        return self.compute / self.step


def estimate(options: Options, gpus: int, weights: int, norms: int) -> Estimate:
    """Returns the estimate for a number of GPUs, weights and batch normalisations."""
    local = min(gpus, options.node)
    machines = math.ceil(gpus / options.node)
    size = weights * GRADIENT / 1e9
    # In a ring of n, each sends 2 (n − 1) / n of the summed data; between machines,
    # each GPU sends its share.
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
