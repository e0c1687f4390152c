"""Measures startup: imports, --help, building each network, the first step.

    python benchmarks/startup.py

All rows are measured in fresh processes, which take turns, except for the last part.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace

from machine import describe

ROWS = {
    "python, nothing imported": ("-c", ""),
    "import tensorflow": ("-c", "import tensorflow"),
    "import keras": ("-c", "import keras"),
    "import keras_resnet": ("-c", "import keras_resnet"),
    "import keras_resnet, create_model('resnet50')": (
        "-c",
        "import keras_resnet; keras_resnet.create_model('resnet50')",
    ),
    "import keras, keras.applications.ResNet50()": (
        "-c",
        "import keras; keras.applications.ResNet50(weights=None)",
    ),
    "training.fit --help": ("-m", "training.fit", "--help"),
    "training.sweep --help": ("-m", "training.sweep", "--help"),
    "export.saved_model --help": ("-m", "export.saved_model", "--help"),
    "keras_resnet list": ("-m", "keras_resnet", "list"),
    "keras_resnet describe resnet50": ("-m", "keras_resnet", "describe", "resnet50"),
    "first training step, resnet20_cifar": (__file__, "--first", "resnet20_cifar"),
    "first training step, resnet50 at 224": (__file__, "--first", "resnet50"),
}


@dataclass(frozen=True)
class Options:
    """Measure startup times."""

    rounds: int = 5
    """Fresh processes per row."""
    networks: bool = True
    """Also build every network in this process."""


def first_step(name: str) -> None:
    """Imports, builds a network and trains on a small batch, as training does."""
    import numpy as np

    from keras_resnet import command

    command.load_backend("tensorflow")
    from keras_resnet import create_model
    from training.data.preprocessing import Preprocessing
    from training.engine.forward import ModelPair
    from training.experiment.optimisation import make_optimizer, make_step
    from training.recipes.catalogue import RECIPES

    recipe = replace(RECIPES["default"], model=name)
    model = create_model(name)
    size = model.input_shape[1:3]
    preprocessing = Preprocessing(size, 3, 1.0, (128.0,) * 3, (64.0,) * 3)
    optimizer = make_optimizer(recipe, 1000)
    training_step = make_step(
        ModelPair(model, model), preprocessing, optimizer=optimizer, recipe=recipe
    )
    training_step.step(np.zeros((16, *size, 3), np.uint8), np.zeros(16, np.int64))


def begun(arguments: tuple[str, ...]) -> tuple[float, float]:
    """Runs Python once; returns seconds and the peak of its processes' memory, MiB."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
    with tempfile.TemporaryFile("w+") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{' '.join(arguments)} failed:\n{log.read()[-2000:]}")
    return seconds, used.ru_maxrss / 1024


def build_all() -> None:
    """Builds every network in this process and prints how long each takes."""
    from keras_resnet import create_model, list_models

    create_model("lenet5")  # one-time costs of the first network
    times = {}
    for name in list_models():
        began = time.perf_counter()
        create_model(name)
        times[name] = time.perf_counter() - began
    print(f"\nbuilding each of {len(times)} networks, one after another, seconds:")
    for name, seconds in times.items():
        print(f"  {name:32} {seconds:6.2f}")
    middle = statistics.median(times.values())
    print(f"  all: {sum(times.values()):.0f} s, the median {middle:.2f} s")


def main() -> None:
    """Runs the command line."""
    import tyro

    options = tyro.cli(Options)
    print(describe())
    seen: dict[str, list[tuple[float, float]]] = {title: [] for title in ROWS}
    for turn in range(options.rounds + 1):
        for title, arguments in ROWS.items():
            result = begun(arguments)
            if turn:  # the first turn reads the files from disk
                seen[title].append(result)
    for title, results in seen.items():
        seconds, memory = zip(*results, strict=True)
        print(
            f"  {title:48} best {min(seconds):6.2f} s  median "
            f"{statistics.median(seconds):6.2f} s  memory {max(memory):6,.0f} MiB"
        )
    if options.networks:
        build_all()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--first"]:
        first_step(sys.argv[2])
    else:
        main()
