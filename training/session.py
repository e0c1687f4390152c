"""One training session, from a recipe to a complete run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras

from keras_resnet.describe import count_macs
from keras_resnet.errors import UsageError
from keras_resnet.models import AuxiliarySpec, Spec, find_spec, with_auxiliary
from training import devices, finetuning, loop
from training.augmentation.changes import require_possible, require_size, training_sizes
from training.callbacks import callback_list
from training.checkpoint import Checkpoints
from training.data.datasets import Dataset
from training.data.pipeline import copies, preprocessing, training_batches
from training.data.preprocessing import Preprocessing
from training.data.sources import recipe_data
from training.distributed.strategy import Replicas, require_shares
from training.evaluate import assess, predict, store
from training.metrics import Evaluator
from training.network import in_float32, initial_network, save_model
from training.optimisation.optimizers import make_optimizer
from training.progress import Logs
from training.recipe import Recipe
from training.runs import Run, written_to
from training.saving import Saving
from training.trainer import Trainer


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
    replicas = Replicas(devices.strategy())
    dataset = recipe_data(recipe)
    images = len(dataset.splits["train"])
    require_shares(
        images, recipe.batch_size, recipe.accumulation, devices=replicas.count
    )
    prepared = preprocessing(recipe, dataset, spec.input_shape[:2])
    require_possible(recipe, dataset)

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


Adapt = Callable[[Trainer], list[keras.callbacks.Callback]]


def train(
    session: Session,
    run: Run,
    saving: Saving | None = None,
    adapt: Adapt | None = None,
) -> None:
    """Trains in the folder of ``run``, from its newest checkpoint if any, to the end.

    Args:
        session: The recipe on this machine.
        run: The folder, which all workers see and one of them writes to.
        saving: How often the state is saved.
        adapt: Changes what the trainer trains; returns callbacks that this needs.

    Raises:
        UsageError: The disk is full, or no checkpoint is whole.
        Stopped: A signal or a non-finite loss ended it.
    """
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
        store(run, result)
        print(
            f"test: top-1 {result['top1']:.4f}, top-5 {result['top5']:.4f}, loss "
            f"{result['loss']:.4f} on {result['examples']} images\nrun: {run.path}"
        )
    replicas.wait()  # for the one that writes


def _optimizer(
    recipe: Recipe, steps: int, placement: devices.Placement
) -> keras.optimizers.Optimizer:
    optimizer = make_optimizer(recipe, steps)
    if placement.precision == "float16":
        # Checkpoints know the variables by this name, and Keras would count up.
        return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    return optimizer
