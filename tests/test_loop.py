"""The training step: weight decay, precision, XLA, divergence."""

from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from backends import NETWORKS

from keras_resnet import create_model
from keras_resnet.catalogue import find_spec
from keras_resnet.errors import UsageError
from training.data.preprocessing import Preprocessing
from training.engine.forward import ForwardPass, ModelPair
from training.engine.step import TrainingStep
from training.experiment.optimisation import make_model_pair, make_step
from training.recipes.recipe import Recipe

PREPARED = Preprocessing((8, 8), 3, 1.0, (120.0,) * 3, (60.0,) * 3)
RESNET20 = find_spec("resnet20_cifar")
TINY = {"input_shape": (8, 8, 3), "classes": 4, "depths": (1,)}


def make_training_step(
    recipe: Recipe, policy: str = "float32", *, jit_compile: bool = False
) -> TrainingStep:
    keras.utils.set_random_seed(0)
    model = create_model("resnet20_cifar", dtype=policy, **TINY)
    optimizer = keras.optimizers.SGD(recipe.learning_rate)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return make_step(
        ModelPair(model, model),
        PREPARED,
        optimizer=optimizer,
        recipe=recipe,
        jit_compile=jit_compile,
    )


def batch(count: int = 16) -> tuple[tf.Tensor, tf.Tensor]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 8, 8, 3), np.uint8)
    return tf.constant(images), tf.constant(np.arange(count) % 4)


@cache
def after_one_step(**recipe: object) -> dict[str, np.ndarray]:
    made = make_training_step(Recipe(learning_rate=0.1, warmup_epochs=0, **recipe))
    made.step(*batch())
    return {v.path: v.numpy() for v in made.model.trainable_variables}


@pytest.mark.slow
@pytest.mark.parametrize("decay", ["kernels", "all"])
def test_weight_decay_shrinks_what_it_says(decay: str) -> None:
    keras.utils.set_random_seed(0)
    model = create_model("resnet20_cifar", **TINY)
    start = {v.path: v.numpy() for v in model.trainable_variables}
    free = after_one_step(weight_decay=0.0)
    decayed = after_one_step(weight_decay=0.5, decay=decay)
    for path, before in start.items():
        penalised = decay == "all" or path.endswith("kernel")
        expected = free[path] - 0.1 * 0.5 * before * penalised
        np.testing.assert_allclose(decayed[path], expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "accumulation", "tolerance"),
    [("float32", 3, 1e-4), ("mixed_bfloat16", 1, 5e-2), ("mixed_float16", 1, 1e-2)],
)
def test_xla_gives_the_losses_of_no_xla(
    policy: str, accumulation: int, tolerance: float
) -> None:
    recipe = Recipe(learning_rate=0.05, warmup_epochs=0, accumulation=accumulation)
    losses = []
    for jit_compile in (False, True):
        made = make_training_step(recipe, policy, jit_compile=jit_compile)
        losses.append([made.step(*batch()) for _ in range(6)])
        assert made.model.output.dtype == "float32"
    np.testing.assert_allclose(losses[0], losses[1], rtol=tolerance)
    assert losses[0][-1] < losses[0][0]


@pytest.mark.slow
def test_metrics_are_of_all_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    called = ForwardPass.__call__

    def traced(self: ForwardPass, images: tf.Tensor, *others: Any) -> Any:
        sizes.append(images.shape[0])
        return called(self, images, *others)

    monkeypatch.setattr(ForwardPass, "__call__", traced)
    made = make_training_step(
        Recipe(learning_rate=1e-9, warmup_epochs=0, weight_decay=0.0)
    )
    images, labels = batch(12)
    losses = [made.step(images[:8], labels[:8]), made.step(images[8:], labels[8:])]
    expected = (8 * losses[0] + 4 * losses[1]) / 12
    assert made.metrics.result()["loss"] == pytest.approx(expected, rel=1e-5)
    assert sizes == [8, 4]  # with unknown sizes, gradients are rounded otherwise


@cache
def auxiliary_step(weight: float) -> tuple[TrainingStep, dict[str, np.ndarray]]:
    """A GoogLeNet after one step, and how far its variables have moved."""
    recipe = Recipe(
        model="googlenet",
        overrides=(f"auxiliary_weight={weight}",),
        learning_rate=0.01,
        warmup_epochs=0,
        weight_decay=0.0,
    )
    keras.utils.set_random_seed(0)
    fields = NETWORKS["googlenet"]
    model = create_model("googlenet", input_shape=(32, 32, 3), classes=4, **fields)
    preprocessing = Preprocessing((32, 32), 3, 1.0, (120.0,) * 3, (60.0,) * 3)
    optimizer = keras.optimizers.SGD(recipe.learning_rate)
    spec = find_spec("googlenet", **fields | recipe.spec_fields)
    models = make_model_pair(model, spec)
    made = make_step(models, preprocessing, optimizer=optimizer, recipe=recipe)
    variables = made.forward.training_model.trainable_variables
    before = {v.path: v.numpy() for v in variables}
    images = tf.random.stateless_uniform((4, 32, 32, 3), (0, 1), maxval=255.0)
    made.step(images, tf.range(4))
    return made, {v.path: v.numpy() - before[v.path] for v in variables}


@pytest.mark.slow
def test_auxiliary_classifiers_are_trained_and_left_out() -> None:
    made, moved = auxiliary_step(0.3)
    changed = {path.split("/")[0] for path, by in moved.items() if np.any(by)}
    assert {"aux1_conv", "aux1_logits", "aux2_fc", "logits"} <= changed
    assert not any("aux" in layer.name for layer in made.model.layers)
    assert len(made.forward.training_model.outputs) == 3
    auxiliary = keras.Model(made.model.input, made.forward.training_model.outputs[1])
    assert auxiliary.output_shape == (None, 4)


@pytest.mark.slow
def test_auxiliary_losses_count_by_their_weight() -> None:
    """Szegedy et al., 2015, section 5: 0.3 beside the main loss."""
    assert find_spec("googlenet").auxiliary_weight == 0.3
    once, none = auxiliary_step(0.3)[1], auxiliary_step(0.0)[1]
    twice = auxiliary_step(0.6)[1]
    for path, by in once.items():
        # The main loss moves the trunk too; the rest is the auxiliary losses'.
        expected = none[path] + 2 * (by - none[path])
        np.testing.assert_allclose(twice[path], expected, atol=1e-6, err_msg=path)
    assert np.abs(once["aux1_logits/bias"]).max() > 1e-4
    assert not np.any(none["aux1_logits/bias"])


LENET = Preprocessing((32, 32), 1, 1.0, (120.0,), (60.0,))


@pytest.mark.slow
def test_accumulation_is_the_whole_batch() -> None:
    """LeNet-5 has no batch norm, whose statistics would differ."""
    rng = np.random.default_rng(0)
    images = tf.constant(rng.integers(0, 256, (8, 32, 32, 1), np.uint8))
    labels = tf.constant(np.arange(8) % 4)
    losses, weights = [], []
    for accumulation in (1, 3, 7):  # parts of 8 images: 8, 3 + 3 + 2, 4 · 2
        recipe = Recipe(model="lenet5", accumulation=accumulation, weight_decay=0.1)
        keras.utils.set_random_seed(0)
        model = create_model("lenet5", classes=4)
        optimizer = keras.optimizers.SGD(0.1)
        models = ModelPair(model, model)
        made = make_step(models, LENET, optimizer=optimizer, recipe=recipe)
        losses.append(made.step(images, labels))
        weights.append(model.get_weights())
        assert made.metrics.result()["loss"] == pytest.approx(losses[0], rel=1e-5)
        assert int(optimizer.iterations) == 1
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    for whole, *summed in zip(*weights, strict=True):
        for other in summed:
            np.testing.assert_allclose(other, whole, atol=2e-6)


def twins() -> tuple[keras.Model, keras.Model]:
    models = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        models.append(create_model("resnet20_cifar", **TINY))
    return models[0], models[1]


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.0, 0.9, 0.15])
def test_average_follows_its_recurrence(decay: float) -> None:
    model, twin = twins()
    recipe = Recipe(learning_rate=0.1, ema=decay)
    optimizer = keras.optimizers.SGD(0.1)
    models = make_model_pair(model, RESNET20, twin, decay)
    made = make_step(models, PREPARED, optimizer=optimizer, recipe=recipe)
    expected = [v.numpy() for v in twin.variables]
    for step in (1, 2, 3):
        made.step(*batch())
        now = min(decay, (1 + step) / (10 + step))
        new = [v.numpy() for v in twin.variables]
        expected = [now * a + (1 - now) * w for a, w in zip(expected, new, strict=True)]
    statistics = 0
    for variable, average in zip(model.variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), average, atol=1e-6)
        statistics += "moving" in variable.path and average.std() > 0
    assert statistics > 4
    assert {v.path for v in made.variables} == {v.path for v in model.variables}
    assert len(made.variables) == 2 * len(model.variables)


@pytest.mark.slow
def test_the_average_does_not_touch_what_is_trained() -> None:
    weights = []
    for ema in (0.0, 0.99):
        model, twin = twins()
        recipe = Recipe(ema=ema)
        optimizer = keras.optimizers.SGD(0.1, 0.9)
        models = make_model_pair(model, RESNET20, twin if ema else None, ema)
        made = make_step(models, PREPARED, optimizer=optimizer, recipe=recipe)
        for _ in range(2):
            made.step(*batch())
        weights.append(made.forward.training_model.get_weights())
    for plain, averaged in zip(*weights, strict=True):
        np.testing.assert_array_equal(plain, averaged)


@pytest.mark.slow
def test_mixed_targets_are_trained_on_and_counted_by_the_dominant_class() -> None:
    made = make_training_step(Recipe(learning_rate=1e-9, weight_decay=0.0))
    images, labels = batch(4)
    hard = made.step(images, labels)
    alone = made.metrics.result()
    made.metrics.reset()
    targets = 0.6 * tf.one_hot(labels, 4) + 0.1
    mixed = made.step(images, targets)
    assert made.metrics.result()["top1"] == alone["top1"]
    assert mixed != pytest.approx(hard, rel=1e-3)


@keras.saving.register_keras_serializable("tests")
class Uncompilable(keras.layers.Layer):
    """Calls Python, which XLA cannot."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        outputs = tf.numpy_function(lambda x: x, [inputs], tf.float32)
        return tf.ensure_shape(outputs, inputs.shape)


def uncompilable_step(xla: str) -> TrainingStep:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(Uncompilable()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(4)(x))
    return make_step(
        ModelPair(model, model),
        PREPARED,
        optimizer=keras.optimizers.SGD(0.01),
        recipe=Recipe(xla=xla),
        jit_compile=True,
    )


@pytest.mark.slow
def test_without_xla_where_it_cannot_compile(
    capfd: pytest.CaptureFixture[str],
) -> None:
    made = uncompilable_step("auto")
    losses = [made.step(*batch()) for _ in range(3)]
    assert losses[2] < losses[0]
    warnings = [x for x in capfd.readouterr().err.splitlines() if "warning" in x]
    assert len(warnings) == 1 and "without XLA" in warnings[0]
    assert int(made.optimizer.iterations) == 3


@pytest.mark.slow
def test_xla_that_is_asked_for_and_impossible_is_refused() -> None:
    with pytest.raises(UsageError, match=r"xla must be auto or off .*, got on: "):
        uncompilable_step("on").step(*batch())
