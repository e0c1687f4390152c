"""Times ResNet-1202 in a fresh interpreter: build, training steps, save, load.

python benchmarks/very_deep.py
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from machine import describe
from peers import keras_step

from training.storage.system import peak_memory


@dataclass(frozen=True)
class Options:
    """Time building, training, saving and loading a very deep network."""

    model: str = "resnet1202_cifar"
    """A network for 32×32×3 images."""
    batch: int = 8
    """Images per step."""


def main() -> None:
    """Runs the command line."""
    import tyro

    options = tyro.cli(Options)
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
    limit = sys.getrecursionlimit()
    print(describe())
    _timed("import", lambda: __import__("keras_resnet.catalogue"))
    from keras_resnet import count_params, create_model, load_model

    built: list = []
    _timed("build", lambda: built.append(create_model(options.model)))
    model = built[0]
    step = keras_step(lambda: model, "float32", options.batch, (32, 32, 3))
    _timed("first training step, traced", step)
    _timed("second training step", step)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        _timed("save", lambda: model.save(path))
        _timed("load", lambda: load_model(path))
    memory = peak_memory() / 2**20
    print(f"  {options.model}: {count_params(model):,} parameters, {memory:,.0f} MiB")
    print(f"  recursion limit before and after: {limit}, {sys.getrecursionlimit()}")


def _timed(what: str, act: Callable[[], object]) -> None:
    began = time.perf_counter()
    act()
    print(f"  {what:28} {time.perf_counter() - began:6.1f} s", flush=True)


if __name__ == "__main__":
    main()
