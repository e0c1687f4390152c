"""The networks of a space for anybody's own keras-tuner."""

from dataclasses import fields

import keras
import keras_tuner

from keras_resnet.errors import UsageError
from keras_resnet.models import create_model
from training.hyperparameters import Optimization
from training.optimisation.optimizers import make_optimizer
from training.recipe import Recipe
from training.sweeps.oracles import decoded, hyperparameters
from training.sweeps.plan import Plan, require_possible
from training.sweeps.space import read_space

# What Keras' own training step, to which the network goes, does not look at.
NOT_COMPILED = {"batch_size", "accumulation", "ema", "decay"}


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
        recipe: What the space does not say of these. Data, augmentation and batch size
            are the caller's, and the loss is the cross-entropy of the softmax, without
            SGD's weight decay.
        input_shape: ``(H, W, C)`` of normalised images.
        classes: How many.
        steps_per_epoch: Batches of an epoch; with the recipe's epochs, the length of
            the schedule.

    Raises:
        UsageError: The space is not possible, or a field has no effect here.
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
        used = {f.name for f in fields(Optimization)} - NOT_COMPILED | {"model"}
        if recipe.optimizer == "sgd" and "optimizer" not in self._plan.space:
            used.discard("weight_decay")  # a part of this project's loss
        for name in {f.name for f in fields(Recipe)} & set(self._plan.space) - used:
            raise UsageError(
                "space must be of network, optimizer and schedule, got "
                f"{name!r}, which your own data or training decide; leave it away"
            )
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
        model = create_model(
            recipe.model,
            input_shape=self._shape,
            classes=self._classes,
            **recipe.spec_fields,
        )
        model.compile(
            optimizer=make_optimizer(recipe, self._steps),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        return model
