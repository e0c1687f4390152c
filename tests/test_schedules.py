from math import cos, pi

import keras
import pytest

from training.recipes import RECIPES, Recipe
from training.schedules import learning_rate

STEPS = 100  # an epoch
RUN = 1000  # steps in all


def recipe(schedule: str, *, warmup: float = 0.0, **fields: object) -> Recipe:
    return Recipe(
        epochs=RUN // STEPS,
        learning_rate=0.2,
        schedule=schedule,
        warmup_epochs=warmup,
        **fields,
    )


def close(value: float) -> object:
    return pytest.approx(value, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("step", [0, 1, 250, 500, 999, 1000])
def test_cosine(step: int) -> None:
    rate = learning_rate(recipe("cosine"), STEPS)
    assert float(rate(step)) == close(0.1 * (1 + cos(pi * step / RUN)))


@pytest.mark.parametrize("step", [0, 1, 500, 999, 1000])
@pytest.mark.parametrize("milestones", [(0.5,), ()])
def test_constant_knows_no_milestones(step: int, milestones: tuple[float, ...]) -> None:
    rate = learning_rate(recipe("constant", milestones=milestones), STEPS)
    assert float(rate(step)) == close(0.2)


@pytest.mark.parametrize(
    "milestones, step, value",
    [
        ((0.5, 0.75), 0, 0.2),
        ((0.5, 0.75), 499, 0.2),
        ((0.5, 0.75), 501, 0.02),
        ((0.5, 0.75), 749, 0.02),
        ((0.5, 0.75), 751, 0.002),
        ((0.5, 0.75), 999, 0.002),
        ((0.1, 0.2, 0.3), 999, 0.0002),
        ((), 999, 0.2),
    ],
)
def test_step_divides_by_ten(
    milestones: tuple[float, ...], step: int, value: float
) -> None:
    rate = learning_rate(recipe("step", milestones=milestones), STEPS)
    assert float(rate(step)) == close(value)


@pytest.mark.parametrize(
    "warmup, step, share",
    [
        (2.0, 0, 1 / 200),
        (2.0, 99, 0.5),
        (2.0, 199, 1.0),
        (2.0, 200, 1.0),
        (0.5, 24, 0.5),
        (0.5, 50, 1.0),
        (0.0, 0, 1.0),
    ],
)
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warmup_rises_to_the_schedule_behind_it(
    schedule: str, warmup: float, step: int, share: float
) -> None:
    rate = learning_rate(recipe(schedule, warmup=warmup), STEPS)
    behind = learning_rate(recipe(schedule), STEPS)
    assert float(rate(step)) == close(share * float(behind(step)))


@pytest.mark.parametrize(
    "step, value",
    [(0, 0.1), (31_900, 0.1), (32_200, 0.01), (47_900, 0.01), (48_200, 0.001)],
)
def test_paper_drops_at_32k_and_48k_of_64k(step: int, value: float) -> None:
    paper = RECIPES["resnet_cifar"]
    steps_per_epoch = -(-50_000 // paper.batch_size)
    assert paper.epochs * steps_per_epoch == pytest.approx(64_000, rel=0.005)
    assert float(learning_rate(paper, steps_per_epoch)(step)) == close(value)


def test_optimizer_takes_it() -> None:
    optimizer = keras.optimizers.SGD(learning_rate(recipe("cosine", warmup=1.0), STEPS))
    assert float(optimizer.learning_rate) == close(0.2 / STEPS)
