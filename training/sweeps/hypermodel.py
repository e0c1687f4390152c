"""Builds the networks of a space for any keras-tuner tuner."""

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
from training.optimisation.optimizers import decayed_variables
from training.recipes.recipe import Recipe
from training.sweeps.encoding import decode, hyperparameters
from training.sweeps.plan import Plan
from training.sweeps.points import require_possible
from training.sweeps.space import read_space

# Recipe fields that affect the compiled model. The batch size scales the learning rate
# if base_batch_size is set. All other fields are refused.
USED = {
    *("model", "overrides", "weights", "freeze", "precision", "xla"),
    *("epochs", "batch_size", "base_batch_size", "optimizer", "learning_rate"),
    *("head_learning_rate", "schedule", "milestones", "peak_at", "warmup"),
    *("warmup_epochs", "warmup_steps", "warmup_from", "momentum", "nesterov"),
    *("weight_decay", "decay", "clip_norm", "loss", "label_smoothing", "bce_threshold"),
}
REASONS = {
    "accumulation": "Keras accumulates gradients over steps, not within one",
    "ema": "Keras' average omits batch-norm statistics",
    "seed": "call keras.utils.set_random_seed instead",
}


class ResNetHyperModel(keras_tuner.HyperModel):
    """Builds and compiles the model of a recipe at a point of a space.

    ::

        hypermodel = ResNetHyperModel(
            ["cardinality=1,2,4", "learning_rate=1e-3..1e0:log"],
            Recipe(model="resnext29_8x64d_cifar"),
            input_shape=(28, 28, 1), classes=10, steps_per_epoch=469,
        )
        keras_tuner.RandomSearch(hypermodel, "val_accuracy", max_trials=20)

    Args:
        space: Fields of the network, optimizer and schedule with their values, as on
            the command line of ``training.sweep``.
        recipe: Sets all other fields. Fields that are not in ``USED``, such as data and
            augmentation, must keep their defaults, because the caller's data and Keras'
            training step determine them. SGD's weight decay becomes a regularizer of
            the layers, so Keras' loss includes it. GoogLeNet trains without its
            auxiliary classifiers.
        input_shape: ``(H, W, C)`` of normalised images.
        classes: Number of classes.
        steps_per_epoch: Batches per epoch; with the recipe's epochs, they give the
            length of the schedule.

    Raises:
        UsageError: The space is invalid, or a field would have no effect.

    To load a model that was saved with its optimizer, import ``training.optimisation``
    first; ``keras_resnet.load_model`` loads it without the optimizer and the import.
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
        """Returns the compiled model for the current values of ``hp``."""
        registered = hyperparameters(self._plan.space)
        values = {}
        for each in registered.space:
            hp.merge([each], overwrite=False)
            values[each.name] = hp.get(each.name)
        recipe = self._plan.recipe_at(decode(values, self._plan.space))
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
            _add_weight_penalty(model, recipe)
        optimizer = make_optimizer(recipe, self._steps)
        if model.dtype_policy.name == "mixed_float16":
            # Keras would add it too, but save the model without it.
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
    """Checks whether every field of space and recipe has an effect."""
    default: Any = Recipe()
    for name in (field.name for field in fields(Recipe)):
        reason = REASONS.get(name, "your own data and training determine it")
        if name in plan.space and name not in USED - {"batch_size"}:
            raise UsageError(
                "space must have only fields of network, optimizer and schedule, got "
                f"{name!r}: {reason}"
            )
        value, expected = getattr(plan.recipe, name), getattr(default, name)
        if name not in USED and value != expected:
            raise UsageError(
                f"{name} of the recipe must be {expected!r}, got {value!r}: {reason}"
            )


def _add_weight_penalty(model: keras.Model, recipe: Recipe) -> None:
    """Adds λ/2·‖w‖² of the decayed weights to the loss, also in the saved model."""
    penalty = keras.regularizers.L2(recipe.weight_decay / 2)
    for layer in leaf_layers(model):
        weights = [v for v in layer.trainable_variables if v.regularizer is None]
        for variable in decayed_variables(weights, include_all=recipe.decay == "all"):
            variable.regularizer = penalty
            setattr(layer, f"{variable.name}_regularizer", penalty)
