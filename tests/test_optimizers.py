"""The optimizers against their formulas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_resnet.keras_internals import variable_index
from training.experiment.optimisation import make_optimizer
from training.optimisation.optimizers import last_rate
from training.recipes.recipe import Recipe

RATE = 0.05
GRADIENTS = [
    [rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=(4, 2))]
    for rng in (np.random.default_rng(step) for step in range(3))
]


def test_keras_still_knows_a_variable_s_position() -> None:
    model = network()
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    assert hasattr(optimizer, "_get_variable_index"), (
        "Keras' optimizers no longer have _get_variable_index: find what replaced it "
        "in Keras' example of a custom optimizer, and mend keras_internals.py"
    )
    found = [variable_index(optimizer, v.value) for v in model.trainable_variables]
    assert found == [0, 1, 2]


def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    x = keras.Input((3,))
    y = keras.layers.Dense(4, bias_initializer="ones", name="body")(x)
    return keras.Model(x, keras.layers.Dense(2, use_bias=False, name="logits")(y))


def trained(**fields: object) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The weights before and after three steps."""
    recipe = Recipe(
        learning_rate=RATE, schedule="constant", warmup_epochs=0.0, **fields
    )
    variables = network().trainable_variables
    optimizer = make_optimizer(recipe, 10)
    optimizer.build(variables)
    before = [v.numpy() for v in variables]
    for gradients in GRADIENTS:
        optimizer.apply([tf.constant(g, tf.float32) for g in gradients], variables)
    return before, [v.numpy() for v in variables]


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd(nesterov: bool) -> None:
    before, after = trained(nesterov=nesterov, momentum=0.8)
    for i, start in enumerate(before):
        weight = start
        momentum = np.zeros_like(weight)
        for gradients in GRADIENTS:
            momentum = 0.8 * momentum - RATE * gradients[i]
            ahead = 0.8 * momentum - RATE * gradients[i]
            weight = weight + (ahead if nesterov else momentum)
        np.testing.assert_allclose(after[i], weight, rtol=1e-5)


def adam(i: int, weight: np.ndarray, step: int, epsilon: float) -> np.ndarray:
    """Adam's direction at a step, from 1 (Kingma & Ba, 2015, algorithm 1)."""
    mean, square = np.zeros_like(weight), np.zeros_like(weight)
    for gradients in GRADIENTS[:step]:
        mean = 0.9 * mean + 0.1 * gradients[i]
        square = 0.999 * square + 0.001 * gradients[i] ** 2
    scaled = np.sqrt(square / (1 - 0.999**step)) + epsilon
    return mean / (1 - 0.9**step) / scaled


@pytest.mark.parametrize("decay", ["kernels", "all"])
def test_adamw_decays_apart_from_the_gradient(decay: str) -> None:
    before, after = trained(optimizer="adamw", weight_decay=0.3, decay=decay)
    for i, start in enumerate(before):
        weight, shrinks = start, decay == "all" or start.ndim > 1
        for step in (1, 2, 3):
            weight = weight * (1 - RATE * 0.3 * shrinks)
            weight = weight - RATE * adam(i, weight, step, 1e-8)
        np.testing.assert_allclose(after[i], weight, rtol=1e-4)


@pytest.mark.parametrize("decay", ["kernels", "all"])
def test_lamb_is_algorithm_2(decay: str) -> None:
    before, after = trained(optimizer="lamb", weight_decay=0.3, decay=decay)
    for i, start in enumerate(before):
        weight, adapts = start, decay == "all" or start.ndim > 1
        for step in (1, 2, 3):
            update = adam(i, weight, step, 1e-6)
            if adapts:
                update = update + 0.3 * weight
                update *= np.linalg.norm(weight) / np.linalg.norm(update)
            weight = weight - RATE * update
        np.testing.assert_allclose(after[i], weight, rtol=1e-4)


@pytest.mark.parametrize("shape", [(2, 2), (3, 3, 2, 4)])
def test_lamb_moves_weights_that_are_zero(shape: tuple[int, ...]) -> None:
    variable = keras.Variable(np.zeros(shape, np.float32))
    optimizer = make_optimizer(Recipe(optimizer="lamb", warmup_epochs=0.0), 1)
    optimizer.build([variable])
    optimizer.apply([tf.ones(shape)], [variable])
    assert np.isfinite(variable.numpy()).all() and (variable.numpy() < 0).all()


def test_clipping_cuts_the_length_of_all_gradients_together() -> None:
    # Without momentum the sum of three steps is that of their cut gradients.
    before, after = trained(clip_norm=1.0, momentum=0.0, nesterov=False)
    lengths = [np.sqrt(sum((g**2).sum() for g in step)) for step in GRADIENTS]
    assert min(lengths) > 1
    for i, weight in enumerate(before):
        moved = sum(step[i] / n for step, n in zip(GRADIENTS, lengths, strict=True))
        np.testing.assert_allclose(after[i], weight - RATE * moved, rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lamb"])
def test_head_has_a_rate_of_its_own(optimizer: str) -> None:
    fields = {"optimizer": optimizer, "weight_decay": 0.0}
    before, after = trained(**fields)
    _, other = trained(**fields, head_learning_rate=3 * RATE)
    for i in (0, 1):
        np.testing.assert_array_equal(after[i], other[i])
    moved, further = after[2] - before[2], other[2] - before[2]
    np.testing.assert_allclose(further, 3 * moved, rtol=1e-4)


@pytest.mark.parametrize(
    ("optimizer", "slots"), [("sgd", 1), ("adamw", 2), ("lamb", 2)]
)
def test_all_its_state_is_in_its_variables(optimizer: str, slots: int) -> None:
    """What checkpoints carry decides the next step."""
    recipe = Recipe(optimizer=optimizer, learning_rate=RATE, warmup_epochs=2.0)

    def made() -> tuple[keras.Model, keras.optimizers.Optimizer]:
        model = network()
        optimizer = make_optimizer(recipe, 10)
        optimizer.build(model.trainable_variables)
        return model, optimizer

    def step(
        model: keras.Model, optimizer: keras.optimizers.Optimizer, number: int
    ) -> None:
        gradients = [tf.constant(g, tf.float32) for g in GRADIENTS[number]]
        optimizer.apply(gradients, model.trainable_variables)

    model, first = made()
    step(model, first, 0)
    assert len(first.variables) >= 1 + 3 * slots
    other, second = made()
    other.set_weights(model.get_weights())
    for mine, theirs in zip(second.variables, first.variables, strict=True):
        mine.assign(theirs)
    step(model, first, 1)
    step(other, second, 1)
    for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("optimizer", "decay"),
    [("sgd", "kernels"), ("adamw", "all"), ("lamb", "kernels"), ("lamb", "all")],
)
def test_a_saved_optimizer_goes_on_as_the_first(optimizer: str, decay: str) -> None:
    recipe = Recipe(
        optimizer=optimizer,
        decay=decay,
        learning_rate=RATE,
        head_learning_rate=3 * RATE,
        weight_decay=0.3,
        clip_norm=1.0,
        warmup_from=0.5,
    )
    first = make_optimizer(recipe, 10)
    second = type(first).from_config(first.get_config())
    assert second.get_config() == first.get_config()
    results = []
    for made in (first, second):
        variables = network().trainable_variables
        made.build(variables)
        for gradients in GRADIENTS:
            made.apply([tf.constant(g, tf.float32) for g in gradients], variables)
        results.append([v.numpy() for v in variables])
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("scaled", [False, True])
def test_the_last_rate_is_the_one_that_the_last_step_used(scaled: bool) -> None:
    # Plain gradient descent on a constant gradient of 1 shows the rate of each step.
    recipe = Recipe(
        schedule="step",
        learning_rate=1.0,
        milestones=(0.5,),
        epochs=1,
        warmup_epochs=0.0,
        warmup_steps=2,
        warmup_from=0.5,
        momentum=0.0,
        nesterov=False,
    )
    optimizer = make_optimizer(recipe, 8)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1.0)
    weight = keras.Variable(np.zeros((1, 1), np.float32))
    used, reported = [], []
    for _ in range(8):
        before = float(weight[0, 0])
        optimizer.apply([tf.ones((1, 1))], [weight])
        used.append(before - float(weight[0, 0]))
        reported.append(last_rate(optimizer))
    np.testing.assert_allclose(reported, used, rtol=1e-5)
    expected = [0.5, 0.75, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1]
    np.testing.assert_allclose(reported, expected, rtol=1e-5)
    if scaled:  # a step that is skipped has no rate
        optimizer.apply([tf.constant([[np.inf]])], [weight])
        assert last_rate(optimizer) == reported[-1]
