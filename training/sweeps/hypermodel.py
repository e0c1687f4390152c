"""The networks of a space for anybody's own keras-tuner."""

import warnings
from dataclasses import fields
from typing import Any

import keras
import keras_tuner

from keras_resnet.errors import UsageError
from keras_resnet.layers import leaf_layers
from keras_resnet.models import create_model
from training.distributed.devices import POLICIES
from training.experiment import finetuning
from training.experiment.optimisation import make_optimizer
from training.optimisation.losses import RecipeLoss
from training.optimisation.optimizers import decayed
from training.recipes.recipe import Recipe
from training.sweeps.oracles import decoded, hyperparameters
from training.sweeps.plan import Plan, require_possible
from training.sweeps.space import read_space

# The recipe's fields that the compiled network follows. The batch size scales the
# learning rate where there is a base_batch_size. All others are refused.
USED = {
    *("model", "overrides", "weights", "freeze", "precision", "xla"),
    *("epochs", "batch_size", "base_batch_size", "optimizer", "learning_rate"),
    *("head_learning_rate", "schedule", "milestones", "peak_at", "warmup"),
    *("warmup_epochs", "warmup_steps", "warmup_from", "momentum", "nesterov"),
    *("weight_decay", "decay", "clip_norm", "loss", "label_smoothing", "bce_threshold"),
}
REASONS = {
    "accumulation": "Keras accumulates over steps, not within one",
    "ema": "Keras' average leaves out batch-norm statistics",
    "seed": "call keras.utils.set_random_seed instead",
}


class ResNetHyperModel(keras_tuner.HyperModel):
    """Builds and compiles the network of a recipe at a point of a space.

    ::

        hypermodel = ResNetHyperModel(
            ["cardinality=1,2,4", "learning_rate=1e-3..1e0:log"],
            Recipe(model="resnext29_8x64d_cifar"),
            input_shape=(28, 28, 1), classes=10, steps_per_epoch=469,
        )
        keras_tuner.RandomSearch(hypermodel, "val_accuracy", max_trials=20)

    Args:
        space: Fields and values as on the command line of ``training.sweep``: of the
            network, its optimizer and schedule.
        recipe: What the space does not say. Fields other than those in ``USED``, say
            of data and augmentation, must be at their defaults, since the caller's data
            and Keras' training step decide them. SGD's weight decay is a regularizer of
            the layers, so that Keras' loss includes it. GoogLeNet is trained without
            its auxiliary classifiers.
        input_shape: ``(H, W, C)`` of normalised images.
        classes: How many.
        steps_per_epoch: Batches of an epoch; with the recipe's epochs, the length of
            the schedule.

    Raises:
        UsageError: The space is not possible, or a field has no effect here.

    To load a model that was saved with its optimizer, import ``training.optimisation``
    first; ``keras_resnet.load_model`` reads it without the optimizer and needs nothing.
    """

    def __init__(
        self,
        space: list[str],
        recipe: Recipe,
        *,
        input_shape: tuple[int, int, int],
        classes: int,
        steps_per_epoch: int,
    ) -> None:
        super().__init__()
        self._plan = Plan(recipe, read_space(space))
        require_possible(self._plan.space, recipe)
        _require_used(self._plan)
        self._shape, self._classes = input_shape, classes
        self._steps = steps_per_epoch

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Returns the compiled network at the point ``hp`` stands at."""
        registered = hyperparameters(self._plan.space)
        values = {}
        for each in registered.space:
            hp.merge([each], overwrite=False)
            values[each.name] = hp.get(each.name)
        recipe = self._plan.recipe_at(decoded(self._plan.space, values))
        policy = None if recipe.precision == "auto" else POLICIES[recipe.precision]
        model = create_model(
            recipe.model,
            input_shape=self._shape,
            classes=self._classes,
            dtype=policy,
            **recipe.spec_fields,
        )
        if recipe.weights:
            for note in finetuning.start_from(model, recipe.weights):
                warnings.warn(note, stacklevel=2)
        finetuning.freeze(model, recipe.freeze)
        if recipe.optimizer == "sgd":
            _penalise(model, recipe)
        optimizer = make_optimizer(recipe, self._steps)
        if model.dtype_policy.name == "mixed_float16":
            # Keras adds it too, but saves the model as if it had not.
            scaled = keras.optimizers.LossScaleOptimizer
            optimizer = scaled(optimizer, name="loss_scale")
        model.compile(
            optimizer=optimizer,
            loss=RecipeLoss(recipe.loss, recipe.label_smoothing, recipe.bce_threshold),
            metrics=["accuracy"],
            jit_compile={"auto": "auto", "on": True, "off": False}[recipe.xla],
        )
        return model


def _require_used(plan: Plan) -> None:
    """Checks that no field of space or recipe would be ignored."""
    default: Any = Recipe()
    for name in (field.name for field in fields(Recipe)):
        reason = REASONS.get(name, "your own data and training decide it")
        if name in plan.space and name not in USED - {"batch_size"}:
            raise UsageError(
                "space must be of network, optimizer and schedule, got "
                f"{name!r}: {reason}"
            )
        value, expected = getattr(plan.recipe, name), getattr(default, name)
        if name not in USED and value != expected:
            raise UsageError(
                f"{name} of the recipe must be {expected!r}, got {value!r}: {reason}"
            )


def _penalise(model: keras.Model, recipe: Recipe) -> None:
    """Adds λ/2·‖w‖² of the decayed weights to the loss, also of the saved model."""
    penalty = keras.regularizers.L2(recipe.weight_decay / 2)
    for layer in leaf_layers(model):
        own = [v for v in layer.trainable_variables if v.regularizer is None]
        for variable in decayed(own, all_of_them=recipe.decay == "all"):
            variable.regularizer = penalty
            setattr(layer, f"{variable.name}_regularizer", penalty)
