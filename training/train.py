"""A recipe trained in the folder of a run, to its end or from where it stopped."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import keras

from training import config, devices, finetuning, loop
from training.assessment import assess, predict, store
from training.callbacks import callback_list
from training.checkpoint import Checkpoints
from training.data.identity import home_of
from training.data.pipeline import copies, training_batches
from training.lock import locked
from training.metrics import Evaluator
from training.network import in_float32, save_model
from training.optimisation.optimizers import make_optimizer
from training.progress import Logs
from training.recipe import Recipe
from training.runs import Run
from training.saving import Saving
from training.session import Session, prepare
from training.trainer import Trainer
from training.writing import written_to

Adapt = Callable[[Trainer], list[keras.callbacks.Callback]]


def train(
    recipe: Recipe,
    run: Run,
    saving: Saving | None = None,
    *,
    adapt: Adapt | None = None,
) -> None:
    """Trains a recipe in the folder of ``run``, or continues there.

    Nothing is written before the recipe is known to be possible.

    Args:
        recipe: The hyperparameters.
        run: The folder.
        saving: How often the state is saved.
        adapt: Changes what the trainer trains; returns callbacks that this needs.

    Raises:
        UsageError: Recipe, data or disk do not allow it, or another process is at it.
        Stopped: A signal or a non-finite loss ended it.
    """
    begun = None
    if run.exists:
        begun = run.config["device"]["precision"]
        if recipe.dataset == run.recipe.dataset:  # from wherever the user is now
            recipe = replace(recipe, dataset=home_of(run))
    session = prepare(recipe, begun)
    described = config.config(session)
    if not session.replicas.chief:
        if run.exists:
            config.require_same(run.config, described)
        _train_in(session, run, saving)
        return
    with locked(run):
        if run.exists:
            config.require_same(run.config, described)
            config.warn_of_rounding(run.config, described)
            config.note_place(run, described)
        else:
            run.create(described)
        config.announce(session, run)
        _train_in(session, run, saving, adapt)


def _train_in(
    session: Session,
    run: Run,
    saving: Saving | None = None,
    adapt: Adapt | None = None,
) -> None:
    """Trains from the newest checkpoint, if any, to the end."""
    with written_to(run.path), session.replicas.strategy.scope():
        trainer = _trainer(session)
        extra = adapt(trainer) if adapt else []
        checkpoints = _restored(session, run, trainer, saving)
        _train(session, run, trainer, checkpoints, extra)


def _trainer(session: Session) -> Trainer:
    recipe, placement = session.recipe, session.placement
    finetuning.freeze(session.twin or session.model, recipe.freeze)
    return Trainer(
        session.model,
        session.prepared,
        recipe=recipe,
        optimizer=_optimizer(recipe, session.steps, placement),
        twin=session.twin,
        jit_compile=placement.xla,
    )


def _restored(
    session: Session, run: Run, trainer: Trainer, saving: Saving | None
) -> Checkpoints:
    """Returns the checkpoints, the trainer being as the newest one left it."""
    replicas, optimizer = session.replicas, trainer.optimizer
    checkpoints = Checkpoints(
        run.checkpoints, trainer, optimizer, replicas=replicas, saving=saving
    )
    if checkpoints.restore() and replicas.chief:
        progress = checkpoints.progress
        where = f"epoch {progress.epoch + 1}, step {progress.step + 1}"
        print(f"resuming at {where}", flush=True)
    session.model.optimizer = optimizer  # callbacks look for it
    return checkpoints


def _train(
    session: Session,
    run: Run,
    trainer: Trainer,
    checkpoints: Checkpoints,
    extra: list[keras.callbacks.Callback],
) -> None:
    recipe, dataset, prepared = session.recipe, session.dataset, session.prepared
    model, replicas = session.model, session.replicas
    evaluator = _evaluator(session, model)

    def batches(epoch: int, first: int) -> Iterator[Any]:
        left = len(dataset.splits["train"]) - first * recipe.batch_size
        for batch in replicas.batches(
            lambda share: training_batches(
                recipe, dataset, prepared, epoch=epoch, first_step=first, share=share
            )
        ):
            yield *batch, copies(left, replicas.count)
            left -= recipe.batch_size

    def validate() -> Logs:
        watched = "val" if "val" in dataset.splits else "test"
        logs = predict(evaluator, dataset, prepared, watched).means()
        return {name: logs[name] for name in ("loss", "top1")}

    callbacks = keras.callbacks.CallbackList()
    if replicas.chief:
        callbacks = callback_list(session, run, checkpoints.progress, extra)
    loop.fit(
        trainer,
        checkpoints,
        callbacks,
        epochs=recipe.epochs,
        batches=batches,
        validate=validate,
    )
    if replicas.chief:
        save_model(model, run.model)
    exact = in_float32(run, model)
    if exact is not model:
        evaluator = _evaluator(session, exact)
    _assess(session, run, evaluator)


def _evaluator(session: Session, model: keras.Model) -> Evaluator:
    xla, replicas = session.placement.xla, session.replicas
    return Evaluator(model, session.prepared, jit_compile=xla, replicas=replicas)


def _assess(session: Session, run: Run, evaluator: Evaluator) -> None:
    """Evaluates on the test split, on all workers; one of them writes."""
    dataset, replicas = session.dataset, session.replicas
    predictions = predict(evaluator, dataset, session.prepared, "test")
    if replicas.chief:
        result = assess(predictions, dataset, "test")
        print(
            f"test: top-1 {result['top1']:.4f}, top-5 {result['top5']:.4f}, loss "
            f"{result['loss']:.4f} on {result['examples']} images",
            flush=True,
        )
        store(run, result)
        print(f"run: {run.path}")
    replicas.wait()  # for the one that writes


def _optimizer(
    recipe: Recipe, steps: int, placement: devices.Placement
) -> keras.optimizers.Optimizer:
    optimizer = make_optimizer(recipe, steps)
    if placement.precision == "float16":
        # Checkpoints know the variables by this name, and Keras would count up.
        return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    return optimizer
