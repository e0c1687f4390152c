"""Measures how time and memory grow with networks, images, data and workers.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --axes depth batch --figure docs/scaling.svg

The script varies one quantity at a time and measures each point in its own process. It
prints the exponent p of a log-log line through the points, y ~ x^p, and the exponent
between the last two points, where constant parts matter least.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from machine import describe

from training.storage.system import peak_memory

Point = dict[str, float]  # measurements by name; the name ends in the unit
STEPS = 5  # timed steps per point
CIFAR = (32, 32, 3)


def trained(
    name: str, batch: int, shape: tuple[int, int, int], classes: int = 10
) -> Point:
    """Builds a network and trains it on one batch of noise."""
    from peers import keras_step

    from keras_resnet import create_model

    began = time.perf_counter()
    model = create_model(name, input_shape=shape, classes=classes)
    built, before = time.perf_counter() - began, peak_memory()
    step = keras_step(lambda: model, "float32", batch, shape)
    began = time.perf_counter()
    step()
    first = time.perf_counter() - began
    seconds = []
    for _ in range(STEPS):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return {
        "build s": built,
        "first step s": first,
        "step s": statistics.median(seconds),
        "training MiB": (peak_memory() - before) / 2**20,
    }


def read(images: int) -> Point:
    """Reads an epoch's first batches of synthetic images held in memory."""
    from itertools import islice

    from training.data.preprocessing import Preprocessing
    from training.data.sources.memory import synthetic
    from training.experiment.augmentation import training_data
    from training.recipes.catalogue import RECIPES

    dataset = synthetic(f"28x28x1:10:{images}")
    preprocessing = Preprocessing((28, 28), 1, 1.0, (0.0,), (1.0,))
    recipe = RECIPES["resnet_cifar"]
    began = time.perf_counter()
    batches = iter(training_data(recipe, dataset, preprocessing).batches(epoch=0))
    next(batches)
    first = time.perf_counter() - began
    began = time.perf_counter()
    count = sum(1 for _ in islice(batches, max(STEPS, 20_000 // recipe.batch_size)))
    return {
        "first batch s": first,
        "batch s": (time.perf_counter() - began) / max(count, 1),
    }


def worked(workers: int) -> Point:
    """Trains with several processes that divide every batch."""
    from training.runs.run import Run

    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        command = [sys.executable, "-m", "training.fit", "--out", str(run)]
        command += [
            "--model",
            "resnet20_cifar",
            "--dataset",
            "synthetic:32x32x3:10:2560",
        ]
        command += ["--batch-size", "128", "--epochs", "3"]
        command += ["--workers", str(workers)] if workers > 1 else []
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        whole = time.perf_counter() - began
        epochs = Run.open(run).epochs[1:]
    speed = statistics.median(row["images_per_second"] for row in epochs)
    return {"step s": 128 / speed, "whole job s": whole}


@dataclass(frozen=True)
class Axis:
    """A quantity to vary.

    Attributes:
        title: Title to print.
        values: Values of the quantity.
        measure: Measures one value.
    """

    title: str
    values: tuple[int, ...]
    measure: Callable[[int], Point]


AXES = {
    "depth": Axis(
        "layers of ResNet-n, CIFAR, batch 16",
        (20, 32, 44, 56, 110, 1202),
        lambda n: trained(f"resnet{n}_cifar", 16, CIFAR),
    ),
    "batch": Axis(
        "images per batch, ResNet-20, 32×32",
        (8, 16, 32, 64, 128, 256, 512),
        lambda n: trained("resnet20_cifar", n, CIFAR),
    ),
    "side": Axis(
        "pixels per side, ResNet-18, batch 8",
        (32, 64, 96, 128, 192, 256, 384),
        lambda n: trained("resnet18", 8, (n, n, 3)),
    ),
    "classes": Axis(
        "classes, ResNet-18, 64×64, batch 16",
        (10, 100, 1000, 10_000, 21_841),
        lambda n: trained("resnet18", 16, (64, 64, 3), n),
    ),
    "images": Axis(
        "images in memory, 28×28",
        (1_000, 10_000, 100_000, 1_000_000),
        read,
    ),
    "workers": Axis("processes on one machine, ResNet-20, batch 128", (1, 2), worked),
}


@dataclass(frozen=True)
class Options:
    """Measure how time and memory grow."""

    axes: tuple[str, ...] = tuple(AXES)
    """Quantities to vary."""
    figure: Path | None = None
    """File for a figure; None: no figure."""


def measured(key: str) -> dict[int, Point]:
    """Returns the points of an axis, each measured in its own process."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
    points = {}
    for value in AXES[key].values:
        command = [sys.executable, __file__, "--point", key, str(value)]
        result = subprocess.run(
            command, env=os.environ | environment, stdout=subprocess.PIPE, check=True
        )
        points[value] = json.loads(result.stdout.splitlines()[-1])
        row = ", ".join(f"{name} {y:.4g}" for name, y in points[value].items())
        print(f"  {value:>9,}: {row}", flush=True)
    return points


def exponents(points: dict[int, Point], name: str) -> tuple[float, float]:
    """Returns the exponent through all points and that between the last two."""
    x = np.log(list(points))
    y = np.log([max(point[name], 1e-9) for point in points.values()])
    return float(np.polyfit(x, y, 1)[0]), float((y[-1] - y[-2]) / (x[-1] - x[-2]))


def draw(results: dict[str, dict[int, Point]], path: Path) -> None:
    """Draws a panel for each axis: every measure relative to its first point."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2 * -(-len(results) // 2)), layout="constrained")
    panels = list(figure.subplots(-(-len(results) // 2), 2, squeeze=False).flat)
    for unused in panels[len(results) :]:
        unused.remove()
    for (key, points), panel in zip(results.items(), panels, strict=False):
        x = np.array(list(points))
        for name in points[x[0]]:
            y = np.array([point[name] for point in points.values()])
            panel.loglog(x, y / y[0], "o-", label=name)
        panel.loglog(x, x / x[0], ":", color="grey", label="proportional")
        panel.set(xlabel=AXES[key].title, ylabel="times the first point")
        panel.set_xticks(x, [f"{value:,}" for value in x], rotation=30)
        panel.minorticks_off()
        panel.yaxis.set_major_formatter("{x:g}")
        panel.legend(fontsize=8)
    figure.savefig(path)


def main() -> None:
    """Runs the command line."""
    import tyro

    options = tyro.cli(Options)
    print(describe())
    results: dict[str, dict[int, Point]] = {}
    for key in options.axes:
        print(f"\n{AXES[key].title}")
        results[key] = points = measured(key)
        for name in next(iter(points.values())):
            whole, last = exponents(points, name)
            print(f"    {name}: exponent {whole:.2f}, between the last two {last:.2f}")
    if options.figure:
        draw(results, options.figure)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--point"]:
        axis, value = sys.argv[2:]
        print(json.dumps(AXES[axis].measure(int(value))))
    else:
        main()
