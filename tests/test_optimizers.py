"""The optimizers against their formulas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.optimisation.optimizers import build, decayed, make_optimizer
from training.recipe import Recipe

RATE = 0.05
GRADIENTS = [
    [rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=(4, 2))]
    for rng in (np.random.default_rng(step) for step in range(3))
]


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
    keep = decayed(recipe, variables)
    build(optimizer, variables, [v for v in variables if not any(v is k for k in keep)])
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
    build(optimizer, [variable], [])
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
        build(optimizer, model.trainable_variables, [])
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
