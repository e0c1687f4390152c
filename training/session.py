"""A recipe made concrete: its data, its network, and where they are trained."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import keras
import numpy as np
import tensorflow as tf

from keras_resnet.catalogue import find_spec, with_auxiliary
from keras_resnet.describe import count_macs
from keras_resnet.errors import UsageError
from keras_resnet.families.spec import AuxiliarySpec, Spec
from training import devices, finetuning
from training.augmentation.changes import require_possible, require_size, training_sizes
from training.data.datasets import Dataset
from training.data.derived import preprocessing
from training.data.preprocessing import Preprocessing
from training.data.sources import recipe_data
from training.distributed.strategy import Replicas, require_shares
from training.network import initial_network
from training.recipe import Recipe

COMPARED = ("classes", "train", "val", "test")  # among workers


@dataclass(frozen=True)
class Session:
    """A recipe made concrete on this machine.

    Attributes:
        recipe: The hyperparameters.
        dataset: Its data.
        prepared: An image's way into the network.
        placement: Device, precision and XLA.
        model: The network, freshly initialised or with the recipe's weights.
        replicas: The devices and workers that train it together.
        twin: The same network for inputs of any size, to be trained in its place;
            None: not needed.
        notes: What was found on the way, for the user to read.
    """

    recipe: Recipe
    dataset: Dataset
    prepared: Preprocessing
    placement: devices.Placement
    model: keras.Model
    replicas: Replicas
    twin: keras.Model | None = None
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.dataset.splits["train"]) // self.recipe.batch_size)


def prepare(recipe: Recipe, precision: str | None = None) -> Session:
    """Loads the recipe's data and builds its network for the device at hand.

    Args:
        recipe: The hyperparameters.
        precision: What the run was begun in; None: it is new.

    Raises:
        UsageError: Network, data or their combination are not possible.
    """
    spec = find_spec(recipe.model, **recipe.spec_fields)
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()
    replicas = Replicas(devices.strategy())
    dataset = recipe_data(recipe)
    require_same_data(replicas, dataset)
    images = len(dataset.splits["train"])
    require_shares(
        images, recipe.batch_size, recipe.accumulation, devices=replicas.count
    )
    prepared = preprocessing(recipe, dataset, spec.input_shape[:2])
    require_possible(recipe, dataset, prepared.size)

    def network(policy: str, *, any_size: bool = False) -> keras.Model:
        with replicas.strategy.scope():
            return initial_network(
                recipe, prepared, len(dataset.labels), policy, any_size=any_size
            )

    model = network("float32")
    placement = devices.place(
        devices.detect(),
        precision=precision or recipe.precision,
        xla=recipe.xla,
        macs=count_macs(model),
        replicas=replicas.count,
    )
    if precision and recipe.precision == "auto":
        placement = replace(placement, precision_reason="as the run was begun")
    if placement.precision != "float32":
        model = network(placement.policy)
    sizes = training_sizes(recipe, prepared.size)
    require_size(recipe, sizes[0], spec.smallest_side)
    twin, notes = None, []
    if sizes != [prepared.size]:
        twin = _for_any_size(spec, lambda: network(placement.policy, any_size=True))
    elif recipe.ema:
        twin = network(placement.policy)
    if recipe.weights:
        with replicas.strategy.scope():
            notes = finetuning.start_from(model, recipe.weights)
    finetuning.frozen_layers(model, recipe.freeze)
    return Session(
        recipe, dataset, prepared, placement, model, replicas, twin, tuple(notes)
    )


def require_same_data(replicas: Replicas, dataset: Dataset) -> None:
    """Checks that all workers have loaded the same data.

    Raises:
        UsageError: One has other images, labels or classes than worker 0; all raise it.
    """
    if replicas.workers == 1:
        return
    classes = hashlib.sha256(repr(dataset.labels).encode()).hexdigest()
    digests = {"classes": classes, **dataset.digest}
    words = [bytes.fromhex(digests.get(part, "00" * 32)) for part in COMPARED]
    rows = replicas.gathered(np.frombuffer(b"".join(words), ">u4"))
    rows = rows.reshape(replicas.workers, len(COMPARED), -1)
    differ = (rows != rows[0]).any(-1)
    if differ.any():
        worker = int(differ.any(-1).argmax())
        parts = [p for p, d in zip(COMPARED, differ[worker], strict=True) if d]
        raise UsageError(
            f"all workers must have the same data, got other {' and '.join(parts)} of "
            f"{dataset.name} on worker {worker} than on worker 0; give it the "
            "same files"
        )


def _for_any_size(spec: Spec, build: Callable[[], keras.Model]) -> keras.Model:
    """Builds a network that is trained on images of several sizes.

    Raises:
        UsageError: It, or an auxiliary classifier of it, takes images of one size.
    """
    try:
        network = build()
        if isinstance(spec, AuxiliarySpec):
            with_auxiliary(network, spec)
    except UsageError as error:
        raise UsageError(
            "train_size and progressive must have a network for images of any size, "
            f"got one with dense layers for one size ({error}); leave them away"
        ) from None
    return network
