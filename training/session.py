"""One training session, from a recipe to a complete run."""

from collections.abc import Callable
from dataclasses import dataclass

import keras

from keras_resnet.describe import count_macs
from keras_resnet.models import create_model, find_spec
from training import devices, finetuning, loop
from training.callbacks import callback_list
from training.changes import require_possible, require_size, training_sizes
from training.checkpoint import Checkpoints
from training.datasets import Dataset
from training.evaluate import evaluate
from training.metrics import Evaluator, Logs
from training.optimizers import make_optimizer
from training.pipeline import preprocessing, training_batches
from training.preprocessing import Preprocessing
from training.recipe import Recipe
from training.runs import Run, save_model, write_json, written_to
from training.sources import recipe_data


@dataclass(frozen=True)
class Session:
    """A recipe made concrete on this machine.

    Attributes:
        recipe: The hyperparameters.
        dataset: Its data.
        prepared: An image's way into the network.
        placement: Device, precision and XLA.
        model: The network, freshly initialised or with the recipe's weights.
        twin: The same network for inputs of any size, to be trained in its place;
            None: not needed.
        notes: What was found on the way, for the user to read.
    """

    recipe: Recipe
    dataset: Dataset
    prepared: Preprocessing
    placement: devices.Placement
    model: keras.Model
    twin: keras.Model | None = None
    notes: tuple[str, ...] = ()


def prepare(recipe: Recipe) -> Session:
    """Loads the recipe's data and builds its network for the device at hand.

    Raises:
        UsageError: Network, data or their combination are not possible.
    """
    spec = find_spec(recipe.model, **recipe.spec_fields)
    dataset = recipe_data(recipe)
    prepared = preprocessing(recipe, dataset, spec.input_shape[:2])
    require_possible(recipe, dataset)

    def network(policy: str, *, fixed: bool = True) -> keras.Model:
        keras.utils.set_random_seed(recipe.seed)
        size = prepared.size if fixed else (None, None)
        return create_model(
            recipe.model,
            input_shape=(*size, prepared.channels),
            classes=len(dataset.labels),
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
    if placement.precision != "float32":
        model = network(placement.policy)
    sizes = training_sizes(recipe, prepared.size)
    require_size(recipe, sizes[0], spec.smallest_side)
    twin, notes = None, []
    if recipe.ema or sizes != [prepared.size]:
        twin = network(placement.policy, fixed=sizes == [prepared.size])
    if recipe.weights:
        notes = finetuning.start_from(model, recipe.weights)
    finetuning.frozen_layers(model, recipe.freeze)
    return Session(recipe, dataset, prepared, placement, model, twin, tuple(notes))


Adapt = Callable[[loop.Trainer], list[keras.callbacks.Callback]]


def train(session: Session, run: Run, adapt: Adapt | None = None) -> None:
    """Trains in the folder of ``run``, from its newest checkpoint if any, to the end.

    Args:
        session: What to train.
        run: Where to.
        adapt: Changes what the trainer trains; returns callbacks that this needs.

    Raises:
        UsageError: The disk is full.
        Stopped: A signal or a non-finite loss ended it.
    """
    with written_to(run.path):
        _train(session, run, adapt or (lambda trainer: []))


def _train(session: Session, run: Run, adapt: Adapt) -> None:
    recipe, dataset, prepared = session.recipe, session.dataset, session.prepared
    model, jit_compile = session.model, session.placement.xla
    steps = -(-len(dataset.splits["train"]) // recipe.batch_size)
    optimizer = _optimizer(recipe, steps, session.placement)
    finetuning.freeze(session.twin or model, recipe.freeze)
    trainer = loop.Trainer(
        model,
        prepared,
        recipe=recipe,
        optimizer=optimizer,
        twin=session.twin,
        jit_compile=jit_compile,
    )
    extra = adapt(trainer)
    evaluator = Evaluator(model, prepared, jit_compile=jit_compile)
    checkpoints = Checkpoints(run.checkpoints, trainer, optimizer, trainer.metrics)
    if checkpoints.restore():
        print(f"resuming at epoch {int(checkpoints.epoch) + 1}", flush=True)
    watched = "val" if "val" in dataset.splits else "test"

    def validate() -> Logs:
        logs = evaluate(evaluator, dataset, prepared, watched)
        return {name: logs[name] for name in ("loss", "top1")}

    model.optimizer = optimizer  # callbacks look for it
    callbacks = callback_list(
        run, model, checkpoints, epochs=recipe.epochs, steps=steps, extra=extra
    )
    loop.fit(
        trainer,
        checkpoints,
        callbacks,
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
    optimizer = make_optimizer(recipe, steps)
    if placement.precision == "float16":
        # Checkpoints know the variables by this name, and Keras would count up.
        return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    return optimizer
