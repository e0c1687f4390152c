"""Creates the optimizer, learning-rate schedule and training step of a recipe."""

from typing import Any, assert_never

import keras
from keras.optimizers import schedules

from keras_resnet.catalogue import with_auxiliary
from keras_resnet.families.spec import AuxiliarySpec, Spec
from training.data.preprocessing import Preprocessing
from training.distributed.replicas import Replicas
from training.engine.forward import Execution, ForwardPass, ModelPair
from training.engine.step import TrainingStep
from training.optimisation.averaging import Average
from training.optimisation.losses import Objective, make_loss
from training.optimisation.optimizers import SGD, AdamW, Lamb
from training.optimisation.schedules import OneCycle, WarmUp
from training.recipes.recipe import Recipe


def make_model_pair(
    model: keras.Model,
    spec: Spec,
    training_model: keras.Model | None = None,
    ema: float = 0.0,
) -> ModelPair:
    """Returns a model with the one that is trained in its place.

    Args:
        model: Maps normalised images to float32 logits; it is evaluated and saved.
        spec: The model's architecture.
        training_model: A model of the same network that is trained in place of
            ``model``, its moving average; None: ``model`` itself is trained.
        ema: Decay of the moving average per step; 0: a copy.
    """
    average = Average(model, training_model, ema) if training_model else None
    training_model = training_model or model
    if not isinstance(spec, AuxiliarySpec):
        return ModelPair(model, training_model, average)
    training_model = with_auxiliary(training_model, spec)
    return ModelPair(model, training_model, average, spec.auxiliary_weight)


def make_step(
    models: ModelPair,
    preprocessing: Preprocessing,
    *,
    recipe: Recipe,
    optimizer: keras.optimizers.Optimizer,
    jit_compile: bool = False,
    replicas: Replicas | None = None,
) -> TrainingStep:
    """Returns the training step of a recipe.

    Args:
        models: The model to evaluate and the model to train.
        preprocessing: Normalises pixels.
        recipe: The hyperparameters.
        optimizer: Updates the trainable variables.
        jit_compile: Whether to compile the step with XLA.
        replicas: The devices that train the model; None: one device.
    """
    loss = make_loss(
        recipe.loss,
        models.model.output_shape[-1],
        smoothing=recipe.label_smoothing,
        threshold=recipe.bce_threshold,
    )
    objective = Objective(
        loss,
        penalty=recipe.weight_decay if recipe.optimizer == "sgd" else 0.0,
        penalises_all=recipe.decay == "all",
    )
    execution = Execution(
        recipe.accumulation,
        jit_compile,
        jit_required=recipe.xla != "auto",
        synchronized=recipe.batch_norm == "synchronized",
        replicas=replicas or Replicas(),
    )
    return TrainingStep(
        ForwardPass(models, preprocessing, objective, optimizer, execution)
    )


def make_optimizer(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Returns the recipe's optimizer with its learning-rate schedule."""
    head = recipe.head_learning_rate
    common: dict[str, Any] = {
        "learning_rate": learning_rate(recipe, steps_per_epoch),
        "global_clipnorm": recipe.clip_norm or None,
        "head_scale": 1.0 if head is None else head / recipe.learning_rate,
        "decays_all": recipe.decay == "all",
        "name": recipe.optimizer,
    }
    if recipe.optimizer == "sgd":
        return SGD(momentum=recipe.momentum, nesterov=recipe.nesterov, **common)
    maker, epsilon = {"adamw": (AdamW, 1e-8), "lamb": (Lamb, 1e-6)}[recipe.optimizer]
    return maker(
        beta_1=recipe.momentum,
        epsilon=epsilon,  # as in their papers
        weight_decay=recipe.weight_decay,
        **common,
    )


def learning_rate(
    recipe: Recipe, steps_per_epoch: int
) -> schedules.LearningRateSchedule:
    """Returns the recipe's learning rate as a function of the optimizer's step."""
    total = recipe.epochs * steps_per_epoch
    peak = recipe.learning_rate
    if recipe.base_batch_size:  # Goyal et al., 2017: the linear scaling rule
        peak *= recipe.batch_size / recipe.base_batch_size
    schedule = _base_schedule(recipe, peak, total)
    if recipe.schedule == "one_cycle":
        return schedule
    warmup = recipe.warmup_steps or round(recipe.warmup_epochs * steps_per_epoch)
    linear = recipe.warmup == "linear"
    return WarmUp(schedule, warmup, recipe.warmup_from, linear)


def _base_schedule(
    recipe: Recipe, peak: float, total: int
) -> schedules.LearningRateSchedule:
    """Returns the schedule without its warm-up."""
    match recipe.schedule:
        case "one_cycle":
            return OneCycle(peak, total, recipe.peak_at)
        case "cosine":  # Loshchilov & Hutter, 2017, one period
            return schedules.CosineDecay(peak, total)
        case "linear":
            return schedules.PolynomialDecay(peak, total, end_learning_rate=0.0)
        case "constant":
            return _steps(peak, total, ())
        case "step":
            return _steps(peak, total, recipe.milestones)
        case _:
            assert_never(recipe.schedule)


def _steps(
    peak: float, total: int, milestones: tuple[float, ...]
) -> schedules.LearningRateSchedule:
    """Returns a schedule that divides the rate by ten at fractions of the run."""
    # Keras requires a boundary: without milestones, one that is never reached. Keras'
    # boundary is the last step of the higher rate, a milestone the first step of the
    # lower rate.
    boundaries = [round(share * total) - 1 for share in milestones] or [total]
    values = [peak * 0.1**i for i in range(len(boundaries) + 1)]
    return schedules.PiecewiseConstantDecay(boundaries, values)
