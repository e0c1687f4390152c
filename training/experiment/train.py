"""Trains a recipe in a run folder, from the start or from the last checkpoint."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import keras

from training.data import samples
from training.data.pipeline import replicas_per_example
from training.distributed.devices import DevicePlan
from training.distributed.memory import explain_memory_errors
from training.engine import loop
from training.engine.callbacks.display import Display
from training.engine.callbacks.run_files import BestModel, History
from training.engine.callbacks.tensorboard import Overview, Scalars
from training.engine.checkpoint import Checkpoints
from training.engine.saving import CheckpointOptions
from training.engine.step import TrainingStep
from training.evaluation.assessment import assess, predict, write_assessment
from training.evaluation.metrics import Evaluator
from training.evaluation.predictions import Logs
from training.experiment import config, finetuning
from training.experiment.data import require_dataset_location
from training.experiment.experiment import Experiment, build_experiment
from training.experiment.models import to_float32
from training.experiment.optimisation import (
    make_model_pair,
    make_optimizer,
    make_step,
)
from training.recipes.recipe import Recipe
from training.runs.model_file import save_model
from training.runs.run import Run
from training.storage.writing import report_write_errors

Adapt = Callable[[TrainingStep], list[keras.callbacks.Callback]]


def train(
    recipe: Recipe,
    run: Run,
    saving: CheckpointOptions | None = None,
    *,
    adapt: Adapt | None = None,
) -> None:
    """Trains a recipe in the folder of ``run``, or continues its training.

    Nothing is written to the run's folder before the recipe is known to be possible.

    Args:
        recipe: The hyperparameters.
        run: The run, new or interrupted.
        saving: When to save the state, and how many checkpoints to keep.
        adapt: Changes what the step trains; returns the callbacks that this needs. Only
            the worker that writes calls it, so with several workers it must not
            change the step.

    Raises:
        UsageError: The recipe, the data or the disk does not allow it, or another
            process is training in the folder.
        Stopped: A signal or a non-finite loss ended the training.
    """
    precision = None
    if run.exists:
        precision = run.config["device"]["precision"]
        # A relative path may mean another folder today.
        if recipe.dataset == run.recipe.dataset:
            recipe = replace(recipe, dataset=require_dataset_location(run))
    experiment = build_experiment(recipe, precision)
    described = config.describe_experiment(experiment)
    if not experiment.replicas.chief:
        if run.exists:
            config.require_same(run.config, described)
        _train_and_test(experiment, run, saving)
        return
    with run.locked():
        if run.exists:
            config.require_same(run.config, described)
            config.warn_of_rounding(run.config, described)
            config.update_location(run, described)
        else:
            run.create(described)
        config.print_summary(experiment, run)
        _train_and_test(experiment, run, saving, adapt)


def _train_and_test(
    experiment: Experiment,
    run: Run,
    saving: CheckpointOptions | None = None,
    adapt: Adapt | None = None,
) -> None:
    """Trains from the newest checkpoint, if any, to the end, and tests the model."""
    recipe = experiment.recipe
    with report_write_errors(run.path), experiment.replicas.scope():
        training_step = make_training_step(experiment)
        adapt_callbacks = adapt(training_step) if adapt else []
        checkpoints = _restore_checkpoints(experiment, run, training_step, saving)
        experiment.model.optimizer = training_step.optimizer  # callbacks read it
        evaluator = _evaluator(experiment, experiment.model)
        with explain_memory_errors(recipe.batch_size, recipe.accumulation):
            loop.fit(
                training_step,
                checkpoints,
                _callbacks(experiment, run, checkpoints, adapt_callbacks),
                epochs=recipe.epochs,
                batches=epoch_batches(experiment),
                validate=_make_validate(experiment, evaluator),
            )
        if experiment.replicas.chief:
            save_model(experiment.model, run.model)
        float32_model = to_float32(run, experiment.model)
        if float32_model is not experiment.model:
            evaluator = _evaluator(experiment, float32_model)
        _test(experiment, run, evaluator)


def make_training_step(experiment: Experiment) -> TrainingStep:
    """Returns the training step of an experiment, in whose scope it must be called."""
    recipe, plan = experiment.recipe, experiment.plan
    finetuning.freeze(experiment.training_model or experiment.model, recipe.freeze)
    return make_step(
        make_model_pair(
            experiment.model, experiment.spec, experiment.training_model, recipe.ema
        ),
        experiment.preprocessing,
        recipe=recipe,
        optimizer=_optimizer(recipe, experiment.data.steps, plan),
        jit_compile=plan.xla,
        replicas=experiment.replicas,
    )


def _optimizer(
    recipe: Recipe, steps: int, plan: DevicePlan
) -> keras.optimizers.Optimizer:
    optimizer = make_optimizer(recipe, steps)
    if plan.precision == "float16":
        # Checkpoints identify variables by this name; Keras would number it.
        return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    return optimizer


def _restore_checkpoints(
    experiment: Experiment,
    run: Run,
    training_step: TrainingStep,
    saving: CheckpointOptions | None,
) -> Checkpoints:
    """Returns the checkpoints after restoring the newest one."""
    replicas = experiment.replicas
    variables = {
        "model": training_step.variables,
        "optimizer": training_step.optimizer.variables,
    }
    checkpoints = Checkpoints(
        run.checkpoints, variables, replicas=replicas, saving=saving
    )
    if checkpoints.restore() and replicas.chief:
        progress = checkpoints.progress
        where = f"epoch {progress.epoch + 1}, step {progress.step + 1}"
        print(f"resuming at {where}", flush=True)
    return checkpoints


def epoch_batches(experiment: Experiment) -> loop.EpochBatches:
    """Returns a function of epoch and first step that reads the rest of an epoch."""
    data, replicas = experiment.data, experiment.replicas

    def batches(epoch: int, first_step: int) -> Iterator[tuple[Any, Any, int]]:
        read = partial(data.batches, epoch, first_step)
        sizes = data.sizes(first_step)
        batches = replicas.training_batches(read, sizes)
        for (images, labels), size in zip(batches, sizes, strict=True):
            yield images, labels, replicas_per_example(size, replicas.parts)

    return batches


def _make_validate(experiment: Experiment, evaluator: Evaluator) -> Callable[[], Logs]:
    """Returns a function that evaluates the validation split, or the test split."""
    dataset, preprocessing = experiment.dataset, experiment.preprocessing
    split = "val" if "val" in dataset.splits else "test"

    def validate() -> Logs:
        logs = predict(evaluator, dataset, preprocessing, split).summary()
        return {name: logs[name] for name in ("loss", "top1")}

    return validate


def _callbacks(
    experiment: Experiment,
    run: Run,
    checkpoints: Checkpoints,
    adapt_callbacks: list[keras.callbacks.Callback],
) -> keras.callbacks.CallbackList:
    """Returns the callbacks of the worker that writes; the others have none."""
    if not experiment.replicas.chief:
        return keras.callbacks.CallbackList()
    data, progress = experiment.data, checkpoints.progress
    return keras.callbacks.CallbackList(
        [
            History(run, progress),
            Scalars(run, progress),
            Overview(run, progress, samples.training_samples(data)),
            BestModel(run, progress),
            *adapt_callbacks,
            Display(progress, len(data.split)),
        ],
        model=experiment.model,
        epochs=experiment.recipe.epochs,
        steps=data.steps,
    )


def _evaluator(experiment: Experiment, model: keras.Model) -> Evaluator:
    return Evaluator(
        model,
        experiment.preprocessing,
        jit_compile=experiment.plan.xla,
        replicas=experiment.replicas,
    )


def _test(experiment: Experiment, run: Run, evaluator: Evaluator) -> None:
    """Evaluates the test split on all workers, one of which writes the results."""
    dataset, replicas = experiment.dataset, experiment.replicas
    predictions = predict(evaluator, dataset, experiment.preprocessing, "test")
    if replicas.chief:
        result = assess(predictions, dataset, "test")
        print(
            f"test: top-1 {result['top1']:.4f}, top-5 {result['top5']:.4f}, loss "
            f"{result['loss']:.4f} on {result['examples']} images",
            flush=True,
        )
        write_assessment(run, result)
        print(f"run: {run.path}")
    replicas.wait()  # until the results are written
