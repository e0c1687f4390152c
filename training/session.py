"""One training session, from a recipe to a complete run."""

import platform
import sys
from importlib.metadata import version
from typing import Any

import keras

from keras_resnet.describe import count_macs, count_params
from keras_resnet.models import create_model, find_spec
from training import devices, loop
from training.callbacks import callback_list
from training.checkpoint import Checkpoints
from training.datasets import Dataset
from training.evaluate import evaluate
from training.metrics import Evaluator, Logs
from training.pipeline import (
    flips,
    geometry,
    preprocessing,
    training_batches,
)
from training.preprocessing import Preprocessing
from training.recipes import Recipe
from training.runs import Run, disk_full_told, save_model, write_json
from training.schedules import learning_rate
from training.sources import load_dataset

PACKAGES = ("keras-resnet", "tensorflow", "keras", "numpy")


def train(recipe: Recipe, run: Run, *, skip_bad_images: bool = False) -> None:
    """Trains ``recipe`` in the folder of ``run``, from its newest checkpoint if any.

    Nothing is written before the recipe is known to be possible.

    Raises:
        UsageError: Recipe, data or disk do not allow it.
        Stopped: A signal or a non-finite loss ended it.
    """
    spec = find_spec(recipe.model, **recipe.spec_fields)
    dataset = load_dataset(
        recipe.dataset,
        validation=recipe.validation,
        skip_bad_images=skip_bad_images,
    )
    prepared = preprocessing(recipe, dataset, spec.input_shape[:2])
    keras.utils.set_random_seed(recipe.seed)
    model, placement = build(recipe, prepared, len(dataset.labels))
    if not run.exists:
        config = describe_run(recipe, dataset, prepared, model, placement)
        config["dataset"]["skip_bad_images"] = skip_bad_images
        run.create(config)
    _announce(recipe, run, dataset, model, placement)
    with disk_full_told(run.path):
        _train(recipe, run, dataset, prepared, model, placement)


def build(
    recipe: Recipe, prepared: Preprocessing, classes: int
) -> tuple[keras.Model, devices.Placement]:
    """Builds the recipe's network in the precision that its device calls for."""

    def network(policy: str) -> keras.Model:
        return create_model(
            recipe.model,
            input_shape=prepared.input_shape,
            classes=classes,
            dtype=policy,
            **recipe.spec_fields,
        )

    model = network("float32")
    placement = devices.place(
        devices.detect(),
        precision=recipe.precision,
        xla=recipe.xla,
        macs=count_macs(model),
    )
    if placement.policy != "float32":
        keras.utils.set_random_seed(recipe.seed)
        model = network(placement.policy)
    return model, placement


def describe_run(
    recipe: Recipe,
    dataset: Dataset,
    prepared: Preprocessing,
    model: keras.Model,
    placement: devices.Placement,
) -> dict[str, Any]:
    """Returns the run's config: everything needed to repeat it."""
    return {
        "recipe": recipe.to_dict(),
        "command": f"python -m training.fit {' '.join(sys.argv[1:])}".strip(),
        "model": {
            "name": recipe.model,
            "overrides": recipe.spec_fields,
            "input_shape": list(prepared.input_shape),
            "classes": len(dataset.labels),
            "params": count_params(model),
            "macs": count_macs(model),
        },
        "dataset": {
            "name": dataset.name,
            "examples": {name: len(split) for name, split in dataset.splits.items()},
            "labels": list(dataset.labels),
            "augmentation": geometry(recipe, dataset),
            "flip": flips(recipe, dataset),
            "notes": list(dataset.notes),
        },
        "preprocessing": prepared.to_dict(),
        "device": {
            "name": placement.hardware.name,
            "precision": placement.precision,
            "precision_reason": placement.precision_reason,
            "xla": placement.xla,
            "xla_reason": placement.xla_reason,
        },
        "seed": recipe.seed,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
    }


def _train(
    recipe: Recipe,
    run: Run,
    dataset: Dataset,
    prepared: Preprocessing,
    model: keras.Model,
    placement: devices.Placement,
) -> None:
    steps = -(-len(dataset.splits["train"]) // recipe.batch_size)
    optimizer = _optimizer(recipe, steps, placement)
    trainer = loop.Trainer(
        model,
        prepared,
        recipe=recipe,
        optimizer=optimizer,
        jit_compile=placement.xla,
    )
    evaluator = Evaluator(model, prepared, jit_compile=placement.xla)
    checkpoints = Checkpoints(run.checkpoints, model, optimizer, trainer.metrics)
    if checkpoints.restore():
        print(f"resuming at epoch {int(checkpoints.epoch) + 1}")
    watched = "val" if "val" in dataset.splits else "test"

    def validate() -> Logs:
        logs = evaluate(evaluator, dataset, prepared, watched)
        return {name: logs[name] for name in ("loss", "top1")}

    model.optimizer = optimizer  # callbacks look for it
    loop.fit(
        trainer,
        checkpoints,
        callback_list(run, model, checkpoints, epochs=recipe.epochs, steps=steps),
        epochs=recipe.epochs,
        batches=lambda epoch, first: training_batches(
            recipe, dataset, prepared, epoch=epoch, first_step=first
        ),
        validate=validate,
    )
    result = evaluate(evaluator, dataset, prepared, "test")
    save_model(model, run.model)
    write_json(run.evaluation, result)
    print(
        f"test: top-1 {result['top1']:.4f}, top-5 {result['top5']:.4f}, loss "
        f"{result['loss']:.4f} on {result['examples']} images\nrun: {run.path}"
    )


def _optimizer(
    recipe: Recipe, steps: int, placement: devices.Placement
) -> keras.optimizers.Optimizer:
    # Names are given, since checkpoints know the variables by them and Keras counts up.
    optimizer = keras.optimizers.SGD(
        learning_rate(recipe, steps), recipe.momentum, recipe.nesterov, name="sgd"
    )
    if placement.precision == "float16":
        return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    return optimizer


def _announce(
    recipe: Recipe,
    run: Run,
    dataset: Dataset,
    model: keras.Model,
    placement: devices.Placement,
) -> None:
    sizes = ", ".join(f"{len(s):,} {name}" for name, s in dataset.splits.items())
    augmented = geometry(recipe, dataset)
    mirrored = "mirrored" if flips(recipe, dataset) else "not mirrored"
    print(f"model:  {model.name}, {count_params(model):,} parameters")
    print(f"data:   {dataset.name}: {sizes}, {len(dataset.labels)} classes")
    print(f"images: {model.input_shape[1:]}, {augmented}, {mirrored}")
    for note in dataset.notes:
        print(f"        {note}")
    print(f"device: {placement}")
    print(f"run:    {run.path}", flush=True)
