from dataclasses import replace
from math import cos, pi

import keras
import pytest

from training.optimisation.schedules import learning_rate
from training.recipes import RECIPES, Recipe

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


@pytest.mark.parametrize("step", [0, 1, 250, 999, 1000])
def test_linear_falls_to_zero(step: int) -> None:
    rate = learning_rate(recipe("linear"), STEPS)
    assert float(rate(step)) == close(0.2 * (1 - step / RUN))


@pytest.mark.parametrize(
    "step, share",
    [(0, 1 / 25), (100, 0.52), (200, 1.0), (600, 0.5), (1000, 0.0), (1001, 0.0)],
)
def test_one_cycle_rises_and_falls(step: int, share: float) -> None:
    # Its rise is its own: the warm-up does nothing.
    rate = learning_rate(recipe("one_cycle", warmup=1.0, peak_at=0.2), STEPS)
    assert float(rate(step)) == close(0.2 * share)


@pytest.mark.parametrize("step, share", [(0, 0.3035), (99, 0.65), (199, 1), (200, 1)])
def test_warmup_may_begin_above_zero(step: int, share: float) -> None:
    fields = {"warmup": 2.0, "warmup_from": 0.3}
    rate = learning_rate(recipe("constant", **fields), STEPS)
    assert float(rate(step)) == close(0.2 * share)


@pytest.mark.parametrize("step, value", [(0, 0.02), (36, 0.02), (37, 0.2), (900, 0.2)])
def test_warmup_may_be_constant_and_counted_in_steps(step: int, value: float) -> None:
    paper = replace(
        recipe("constant", warmup=2.0),
        warmup="constant",
        warmup_from=0.1,
        warmup_steps=37,
    )
    assert float(learning_rate(paper, STEPS)(step)) == close(value)


@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_rate_is_scaled_by_the_batch(schedule: str) -> None:
    scaled = replace(recipe(schedule), batch_size=1024, base_batch_size=256)
    plain = learning_rate(recipe(schedule), STEPS)
    assert float(learning_rate(scaled, STEPS)(300)) == close(4 * float(plain(300)))


# What the sources say of their learning rates, on 50,000 images of CIFAR-10 and
# 1,281,167 of ImageNet: (recipe, epoch, rate).
DESCRIBED = [
    ("resnet110_cifar", 0.5, 0.01),
    ("resnet110_cifar", 1.1, 0.1),
    ("resnet110_cifar", 83, 0.01),
    ("preactivation_cifar", 0.5, 0.01),
    ("preactivation_cifar", 124, 0.001),
    ("resnext29_cifar", 149, 0.1),
    ("resnext29_cifar", 151, 0.01),
    ("resnext29_cifar", 226, 0.001),
    ("densenet_cifar", 149, 0.1),
    ("densenet_cifar", 151, 0.01),
    ("densenet_cifar", 226, 0.001),
    ("stochastic_depth_cifar", 249, 0.1),
    ("stochastic_depth_cifar", 251, 0.01),
    ("stochastic_depth_cifar", 376, 0.001),
    ("stochastic_depth1202_cifar", 5, 0.01),
    ("stochastic_depth1202_cifar", 11, 0.1),
    ("resnet_imagenet", 29, 0.1),
    ("resnet_imagenet", 31, 0.01),
    ("resnet_imagenet", 61, 0.001),
    ("torchvision_new", 0, 0.005),
    ("torchvision_new", 5, 0.5),
    ("torchvision_new", 600, 0.0),
    ("rsb_a2", 2.5, 2.5e-3),
    ("rsb_a2", 300, 0.0),
    ("rsb_a3", 5, 8e-3),
    ("rsb_a3", 100, 0.0),
]


@pytest.mark.parametrize("name, epoch, rate", DESCRIBED)
def test_recipes_follow_their_sources(name: str, epoch: float, rate: float) -> None:
    paper = RECIPES[name]
    images = 1_281_167 if "imagenet" in paper.dataset else 50_000
    steps = -(-images // paper.batch_size)
    found = float(learning_rate(paper, steps)(round(epoch * steps)))
    assert found == pytest.approx(rate, rel=0.02, abs=1e-6)


def test_optimizer_takes_it() -> None:
    optimizer = keras.optimizers.SGD(learning_rate(recipe("cosine", warmup=1.0), STEPS))
    assert float(optimizer.learning_rate) == close(0.2 / STEPS)
