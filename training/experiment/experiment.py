"""Builds everything that is needed to train a recipe on this machine."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import keras
import numpy as np

from keras_resnet.catalogue import find_spec, with_auxiliary
from keras_resnet.describe import network_cost
from keras_resnet.errors import UsageError
from keras_resnet.families.spec import AuxiliarySpec, Spec
from training.data.pipeline import TrainingData
from training.data.preprocessing import Preprocessing
from training.data.sources.cache import require_memory
from training.data.types import Dataset
from training.distributed import devices
from training.distributed.backend import backend
from training.distributed.devices import DevicePlan
from training.distributed.replicas import Replicas, require_shares
from training.experiment import finetuning
from training.experiment.augmentation import training_data, with_decoded_images
from training.experiment.data import load_recipe_dataset
from training.experiment.infer_preprocessing import infer_preprocessing
from training.experiment.models import build_model
from training.recipes.recipe import Recipe

SAME_ON_ALL_WORKERS = ("classes", "train", "val", "test")


@dataclass(frozen=True)
class Experiment:
    """Everything that is needed to train a recipe on this machine.

    Attributes:
        recipe: The hyperparameters.
        spec: The network's architecture.
        dataset: The data set.
        preprocessing: Maps an image to the model's input.
        data: The augmented training images.
        plan: Device, precision and XLA.
        model: The model, freshly initialised or with the recipe's weights.
        replicas: The devices and workers that train it together.
        training_model: A model of the same network, for inputs of any size if needed,
            that is trained in place of ``model``; None: ``model`` is trained.
        notes: Messages for the user.
    """

    recipe: Recipe
    spec: Spec
    dataset: Dataset
    preprocessing: Preprocessing
    data: TrainingData
    plan: DevicePlan
    model: keras.Model
    replicas: Replicas
    training_model: keras.Model | None = None
    notes: tuple[str, ...] = ()


def build_experiment(recipe: Recipe, precision: str | None = None) -> Experiment:
    """Loads the recipe's data and builds its model for the device at hand.

    Args:
        recipe: The hyperparameters.
        precision: Precision in which the run was begun; None: the run is new.

    Raises:
        UsageError: The network, the data or their combination is not possible.
    """
    spec = find_spec(recipe.model, **recipe.spec_fields)
    if recipe.deterministic:
        backend.make_deterministic()
    replicas = backend.make_replicas()
    dataset = _load_dataset(recipe, replicas)
    preprocessing = infer_preprocessing(recipe, dataset, spec.input_shape[:2])
    data = training_data(recipe, dataset, preprocessing)
    classes = len(dataset.labels)
    plan = _plan_device(
        recipe,
        precision,
        macs=_count_macs(recipe, preprocessing, classes),
        replicas=replicas.count,
    )
    build = partial(build_model, recipe, preprocessing, classes, plan.policy)
    with replicas.scope():
        model = build()
        training_model = _build_training_model(spec, data, model, recipe, build)
        notes = finetuning.start_from(model, recipe.weights) if recipe.weights else ()
    finetuning.frozen_layers(model, recipe.freeze)  # only checks that they exist
    # Last, since it may take hours and writes the copies.
    data, cache_notes = with_decoded_images(data, recipe, preprocessing.crop)
    return Experiment(
        recipe=recipe,
        spec=spec,
        dataset=dataset,
        preprocessing=preprocessing,
        data=data,
        plan=plan,
        model=model,
        replicas=replicas,
        training_model=training_model,
        notes=(*cache_notes, *notes),
    )


def _load_dataset(recipe: Recipe, replicas: Replicas) -> Dataset:
    """Loads the recipe's data; checks that workers and devices can share it."""
    dataset = load_recipe_dataset(recipe)
    require_same_data(replicas, dataset)
    require_shares(
        len(dataset.splits["train"]),
        recipe.batch_size,
        recipe.accumulation,
        devices=replicas.count,
        batch_norm=recipe.batch_norm,
    )
    return dataset


def _count_macs(recipe: Recipe, preprocessing: Preprocessing, classes: int) -> int:
    """Returns the network's multiply-accumulates per image.

    Raises:
        UsageError: Its weights do not fit in memory.
    """
    cost = network_cost(
        recipe.model,
        tuple(recipe.spec_fields.items()),
        preprocessing.input_shape,
        classes,
    )
    needed = np.dtype(np.float32).itemsize * cost.params
    require_memory(f"weights of {recipe.model}", needed, "choose a smaller network")
    return cost.macs


def _plan_device(
    recipe: Recipe, precision: str | None, *, macs: int, replicas: int
) -> DevicePlan:
    plan = devices.plan_device(
        backend.detect_hardware(),
        precision=precision or recipe.precision,
        xla=recipe.xla,
        macs=macs,
        replicas=replicas,
        batch_norm=recipe.batch_norm,
    )
    if precision and recipe.precision == "auto":
        plan = replace(plan, precision_reason="as when the run began")
    return plan


def require_same_data(replicas: Replicas, dataset: Dataset) -> None:
    """Checks that all workers have loaded the same data.

    Raises:
        UsageError: Images, labels or classes differ among workers; all raise it.
    """
    if replicas.workers == 1:
        return
    classes = hashlib.sha256(repr(dataset.labels).encode()).hexdigest()
    digests = {"classes": classes, **dataset.digest}
    parts = SAME_ON_ALL_WORKERS
    joined = b"".join(bytes.fromhex(digests.get(part, "00" * 32)) for part in parts)
    # ``gather`` exchanges float64 values, which represent 32-bit words exactly.
    rows = replicas.gather(np.frombuffer(joined, ">u4"))
    rows = rows.reshape(replicas.workers, len(parts), -1)
    differ = (rows != rows[0]).any(-1)
    if differ.any():
        worker = int(differ.any(-1).argmax())
        names = [p for p, d in zip(parts, differ[worker], strict=True) if d]
        raise UsageError(
            f"all workers must have the same data, got different {' and '.join(names)} "
            f"of {dataset.name} on worker {worker} than on worker 0; give it the same "
            "files"
        )


def _build_training_model(
    spec: Spec,
    data: TrainingData,
    model: keras.Model,
    recipe: Recipe,
    build: Callable[..., keras.Model],
) -> keras.Model | None:
    """Builds the model to train in place of ``model``; None: ``model`` is trained.

    Raises:
        UsageError: The network cannot be trained at the sizes of the images.
    """
    sizes = set(data.augmentation.sizes)
    if min(map(min, sizes)) < spec.smallest_side:
        raise UsageError(
            f"training images of {recipe.model} must be at least {spec.smallest_side} "
            f"pixels wide and high, got {min(sizes)}; choose a larger train_size or "
            "progressive"
        )
    if sizes == {model.input_shape[1:3]}:
        return build() if recipe.ema else None
    try:
        training_model = build(any_size=True)
        if isinstance(spec, AuxiliarySpec):  # only checks that they admit any size
            with_auxiliary(training_model, spec)
    except UsageError as error:
        raise UsageError(
            "train_size and progressive require a network for images of any size, "
            f"got one with dense layers for one size ({error}); omit them"
        ) from None
    return training_model
