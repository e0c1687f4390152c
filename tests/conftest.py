"""Fixtures that several test files share."""

import gc
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_resnet import command

# Compilers optimise for longer than tests compute with what they compiled.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
command.load_backend("tensorflow")

import keras
import numpy as np
import pytest
from exported import Artifacts, SharedFolders
from tensorflow.python.framework.ops import gradient_registry

from keras_resnet.layers import leaf_layers
from training.recipes.recipe import Recipe
from training.runs.run import Run

gradients = gradient_registry._registry
gc.freeze()  # what is imported stays

TINY = Recipe(
    model="resnet20_cifar",
    overrides=("depths=(1,1,1)",),
    dataset="synthetic:12x8x3:3:60",
    epochs=2,
    batch_size=32,
    learning_rate=0.05,
)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_RESNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="module")
def _graphs_are_freed() -> Iterator[None]:
    # TensorFlow keeps each graph with a custom gradient for as long as the process
    # lives: 10 MB for each training.
    yield
    for name in [n for n in gradients if n.startswith("CustomGradient-")]:
        del gradients[name]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    # Keras draws its seeds from here. Its set_random_seed has TensorFlow forget all
    # kernels too, which took a tenth of the tests' time.
    random.seed(0)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets kernels begin as zeros: drawing those of a large network takes seconds.

    Such networks are freed at once, or the next ones take ever new memory.
    """

    def zeros(self: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
        return keras.ops.zeros(shape, dtype)

    for kind in (keras.initializers.VarianceScaling, keras.initializers.RandomNormal):
        monkeypatch.setattr(kind, "__call__", zeros)
    yield
    gc.collect()


@pytest.fixture
def enliven() -> Callable[[keras.Model], keras.Model]:
    """Gives every batch norm random γ, β and statistics, as training would.

    In a fresh network they are ones and zeros, and a comparison of two such networks
    proves little.
    """

    def enliven(model: keras.Model) -> keras.Model:
        rng = np.random.default_rng(0)
        for layer in leaf_layers(model):
            if isinstance(layer, keras.layers.BatchNormalization):
                for weight in layer.weights:
                    spread = rng.uniform(0.5, 1.5, weight.shape)
                    centred = weight.name in ("beta", "moving_mean")
                    weight.assign(spread - 1 if centred else spread)
        return model

    return enliven


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> SharedFolders:
    """Folders that are filled once, however many processes run tests."""
    base = tmp_path_factory.getbasetemp()
    several = "PYTEST_XDIST_WORKER" in os.environ  # each with a folder in base's parent
    return SharedFolders((base.parent if several else base) / "shared")


@pytest.fixture(scope="session")
def run(shared: SharedFolders, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A complete run of a small network on non-square images."""
    return _trained("run", TINY, shared, tmp_path_factory)


@pytest.fixture(scope="session")
def other_run(shared: SharedFolders, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same with another seed."""
    return _trained("other run", replace(TINY, seed=1), shared, tmp_path_factory)


@pytest.fixture(scope="session")
def artifacts(run: Run, shared: SharedFolders) -> Artifacts:
    """The artifacts of ``run`` in all formats."""
    return Artifacts(run, shared)


@pytest.fixture(scope="session")
def c_program(shared: SharedFolders) -> Path:
    """The program on TensorFlow's C library, which takes ten seconds to link."""
    from export.runtimes import c_api

    return shared.get("C program", c_api.build) / "classify"


def _trained(
    name: str,
    recipe: Recipe,
    shared: SharedFolders,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """Returns this process's own copy of a run, which tests may evaluate again."""
    from training.experiment.train import train

    trained = shared.get(name, lambda folder: train(recipe, Run(folder)))
    own = tmp_path_factory.mktemp("run")
    return Run(shutil.copytree(trained, own, dirs_exist_ok=True))
