import json
from dataclasses import replace
from math import cos, pi

import keras
import numpy as np
import pytest

from training.experiment.optimisation import learning_rate
from training.optimisation.schedules import WarmUp
from training.recipes.catalogue import RECIPES
from training.recipes.recipe import Recipe

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


def test_a_name_without_a_schedule_is_refused() -> None:
    unfinished = recipe("constant")
    object.__setattr__(unfinished, "schedule", "none")  # no field has this value
    with pytest.raises(AssertionError, match="unreachable, but got: 'none'"):
        learning_rate(unfinished, STEPS)


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
        ((0.5, 0.75), 500, 0.02),
        ((0.5, 0.75), 749, 0.02),
        ((0.5, 0.75), 750, 0.002),
        ((0.0, 1.0), 0, 0.02),
        ((0.0, 1.0), 999, 0.02),
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


def test_every_step_of_an_epoch_has_the_rate_of_a_scheduler_stepped_per_epoch() -> None:
    # PyTorch's MultiStepLR([5, 8], gamma=0.1): base · gamma ** (milestones ≤ epoch).
    rate = learning_rate(recipe("step", milestones=(0.5, 0.8)), STEPS)
    expected = np.repeat([0.2 * 0.1 ** ((e >= 5) + (e >= 8)) for e in range(10)], STEPS)
    np.testing.assert_allclose(rate(np.arange(RUN)), expected, 1e-5)


@pytest.mark.parametrize("length", [1, 5])
@pytest.mark.parametrize("start", [0.0, 0.1, 1.0])
def test_the_warmup_is_that_of_pytorch(length: int, start: float) -> None:
    # LinearLR: f = start + (end − start) · min(t, iters) / iters at the step t from 0.
    # ConstantLR: f = start while t < iters, then 1.
    paper = recipe("constant", warmup_steps=length, warmup_from=start)
    linear = learning_rate(paper, STEPS)
    flat = learning_rate(replace(paper, warmup="constant"), STEPS)
    for t in range(2 * length + 1):
        rise = start + (1 - start) * min(t, length) / length
        assert float(linear(t)) == close(0.2 * rise)
        assert float(flat(t)) == close(0.2 * (start if t < length else 1))


@pytest.mark.parametrize(
    "warmup, step, share",
    [
        (2.0, 0, 0.0),
        (2.0, 100, 0.5),
        (2.0, 199, 199 / 200),
        (2.0, 200, 1.0),
        (0.5, 25, 0.5),
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


def test_a_warmup_of_version_0_1_is_read() -> None:
    stored = json.loads(json.dumps(learning_rate(recipe("cosine"), STEPS).get_config()))
    stored["after"], stored["rises"] = stored.pop("schedule"), stored.pop("linear")
    now = learning_rate(recipe("cosine"), STEPS).get_config()
    assert WarmUp.from_config(stored).get_config() == now


@pytest.mark.parametrize(
    "step, value",
    [(0, 0.1), (32_061, 0.1), (32_062, 0.01), (48_092, 0.01), (48_093, 0.001)],
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


@pytest.mark.parametrize(
    "step, share", [(0, 0.3), (100, 0.65), (199, 0.9965), (200, 1)]
)
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


def made(schedule: str, **fields: object) -> keras.optimizers.SGD:
    paper = replace(recipe(schedule, warmup=1.0), **fields)
    return keras.optimizers.SGD(learning_rate(paper, STEPS))


def test_optimizer_takes_it() -> None:
    assert float(made("cosine", warmup_from=0.5).learning_rate) == close(0.1)


@pytest.mark.parametrize("warmup", ["linear", "constant"])
@pytest.mark.parametrize(
    "schedule", ["constant", "step", "cosine", "linear", "one_cycle"]
)
def test_it_survives_being_saved(schedule: str, warmup: str) -> None:
    before = made(schedule, warmup=warmup, warmup_from=0.3)
    stored = json.loads(json.dumps(keras.optimizers.serialize(before)))
    after = keras.optimizers.deserialize(stored)
    rates = [o.get_config()["learning_rate"] for o in (before, after)]
    assert rates[0] == rates[1]
    for step in (0, 50, 100, 499, 500, 750, 999):
        for optimizer in (before, after):
            optimizer.iterations.assign(step)
        assert float(before.learning_rate) == float(after.learning_rate)
