"""Several replicas train as one: the same numbers, each example once, equal weights."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from data import gathered, pixel_dataset
from launched import curves
from replicated import RECIPE

from keras_resnet.errors import UsageError
from training.data import pipeline
from training.data.preprocessing import Preprocessing
from training.distributed.devices import plan_device
from training.distributed.hardware import Hardware
from training.distributed.replicas import Replicas, require_shares
from training.evaluate import evaluate_run
from training.experiment.augmentation import training_data
from training.experiment.experiment import build_experiment
from training.experiment.train import train
from training.recipes.recipe import Recipe
from training.runs.run import Run

PREPARED = Preprocessing((8, 8), 1, 1.0, (), ())
GPU = Hardware("gpu", "V100", bfloat16=False, float16=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "parts"), [(12, 2), (12, 3), (13, 3), (25, 2), (25, 4), (3, 3), (3, 4)]
)
def test_shares_have_each_example_once_in_as_many_steps(count: int, parts: int) -> None:
    dataset = pixel_dataset(count)
    recipe = Recipe(augmentation="none", batch_size=12)
    whole = training_data(recipe, dataset, PREPARED).batches(epoch=1)
    shares = [
        list(
            training_data(recipe, dataset, PREPARED)
            .batches(epoch=1, share=(part, parts))
            .as_numpy_iterator()
        )
        for part in range(parts)
    ]
    for step, ((images, labels), *pieces) in enumerate(
        zip(whole.as_numpy_iterator(), *shares, strict=True)
    ):
        left = pipeline.replicas_per_example(count - 12 * step, parts)
        held = sorted(np.concatenate([y for _, y in pieces]))
        assert held == sorted(list(labels) * left)
        assert max(len(y) for _, y in pieces) - min(len(y) for _, y in pieces) <= 1
        assert all(len(x) == len(y) > 0 for x, y in pieces)
        assert sum(len(x) for x, _ in pieces) == left * len(images)


@pytest.mark.slow
def test_blocks_have_the_examples_in_order() -> None:
    """Or the whole last batch, if the four devices of two parts cannot share it."""
    recipe = Recipe(augmentation="pad_crop", batch_size=12)
    for count in (24, 28, 30, 25):
        data = training_data(recipe, pixel_dataset(count), PREPARED)
        read = [data.batches(1, 1, share, 4) for share in [(0, 2), (1, 2), (0, 1)]]
        sizes = data.sizes(first_step=1)
        steps = zip(*(each.as_numpy_iterator() for each in read), sizes, strict=True)
        for *parts, whole, size in steps:
            for first, second, one in zip(*parts, whole, strict=True):
                both = np.concatenate([first, second]) if size % 4 == 0 else first
                np.testing.assert_array_equal(both, one)
                assert len(one) == size and len(first) == len(second)


def test_devices_have_parts_of_one_size() -> None:
    require_shares(51, 12, 1, devices=2)
    with pytest.raises(UsageError, match=r"batch_size must be a multiple of .* got 13"):
        require_shares(48, 13, 1, devices=2)


def test_devices_have_as_many_parts_of_a_part() -> None:
    for images in (48, 49, 50, 52):
        require_shares(images, 12, 3, devices=2)
    with pytest.raises(UsageError, match=r"last batch must be .* got 3 of 51 images"):
        require_shares(51, 12, 3, devices=2)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_shares_of_an_evaluation(parts: int) -> None:
    dataset = pixel_dataset(11)
    found = [
        gathered(
            pipeline.evaluation_batches(
                dataset.splits["test"], PREPARED, 4, (part, parts)
            )
        )[1]
        for part in range(parts)
    ]
    assert sorted(np.concatenate(found)) == list(range(11))


def test_one_device_agrees_with_itself() -> None:
    replicas = Replicas()
    assert (replicas.count, replicas.chief, replicas.shares) == (1, True, [(0, 1)])
    assert replicas.any(True) and not replicas.any(False)
    assert replicas.from_chief([3, -1]) == [3, -1]


@pytest.mark.parametrize(
    "forced",
    [{"xla": "on", "precision": "auto"}, {"xla": "auto", "precision": "float16"}],
)
def test_what_several_devices_cannot_is_refused(forced: dict[str, str]) -> None:
    with pytest.raises(
        UsageError, match=r"must be .* on 2 devices.*, got .*; use auto"
    ):
        plan_device(GPU, macs=1, replicas=2, **forced)


@pytest.mark.parametrize(
    ("batch_norm", "xla", "reason"),
    [
        ("synchronized", False, "2 devices train together"),
        ("replica", True, "fuses operations on a GPU"),
    ],
)
def test_what_several_devices_use(batch_norm: str, xla: bool, reason: str) -> None:
    placed = plan_device(
        GPU, precision="auto", xla="auto", macs=1, replicas=2, batch_norm=batch_norm
    )
    assert (placed.precision, placed.xla) == ("float32", xla)
    assert placed.xla_reason == reason


def test_devices_with_their_own_statistics_have_several_images() -> None:
    own = {"devices": 4, "batch_norm": "replica"}
    for batch_size, accumulation in ((8, 1), (16, 2), (24, 3)):
        require_shares(64, batch_size, accumulation, **own)
    require_shares(64, 1, 1, **own | {"devices": 1})
    for batch_size, accumulation in ((4, 1), (8, 2), (12, 2)):
        with pytest.raises(UsageError, match=r"at least 2 images, got batch_size"):
            require_shares(64, batch_size, accumulation, **own)


def replicated(count: int, out: Path, *recipes: dict[str, object]) -> list[Run]:
    """Trains recipes on several devices; all replicas must be equal at the end."""
    script = Path(__file__).with_name("replicated.py")
    line = [sys.executable, str(script), str(count), str(out)]
    line += map(json.dumps, recipes)
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    found = [json.loads(x) for x in done.stdout.splitlines() if x[0] == "{"]
    equal = [(x["replicas"], x["equal"]) for x in found]
    assert equal == [(count, True)] * len(recipes)
    runs = [Run(out / str(number)) for number in range(len(recipes))]
    for run, result in zip(runs, found, strict=True):
        steps = -(-run.config["dataset"]["examples"]["train"] // run.recipe.batch_size)
        assert result["steps"] == steps * run.recipe.epochs
    return runs


INGREDIENTS: dict[str, object] = {  # together, each as on one device
    "clip_norm": 0.5,
    "ema": 0.9,
    "accumulation": 2,
    "head_learning_rate": 0.01,
    "label_smoothing": 0.1,
}


@pytest.mark.slow
def test_three_devices_give_the_numbers_of_one(tmp_path: Path) -> None:
    one = Run(tmp_path / "one")
    train(Recipe.from_dict(RECIPE | INGREDIENTS), one)
    (three,) = replicated(3, tmp_path / "three", INGREDIENTS)
    np.testing.assert_allclose(curves(one.path), curves(three.path), atol=1e-4)
    assert one.evaluated["examples"] == three.evaluated["examples"]
    assert one.evaluated["top1"] == three.evaluated["top1"]
    assessed = [json.loads(run.assessment.read_text()) for run in (one, three)]
    for name in ("classes", "confusion"):
        assert assessed[0][name] == assessed[1][name]
    wrong = [sorted(m["index"] for m in a["mistakes"]) for a in assessed]
    assert wrong[0] == wrong[1]


OWN: dict[str, object] = {  # 27 images in batches of 12: of the last 3, 2 and 1
    "dataset": "synthetic:12x8x3:3:27",
    "batch_norm": "replica",
    "augmentation": "none",
    "flip": "off",
    "epochs": 1,
    "schedule": "constant",
    "warmup_epochs": 0.0,
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": 0.0,
}


def trained_by_hand(recipe: Recipe, devices: int) -> list[np.ndarray]:
    """Plain Keras: each part by its own statistics, of which the mean is kept."""
    experiment = build_experiment(recipe)
    model, data = experiment.model, experiment.data
    entropy = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="sum"
    )
    moving = model.non_trainable_variables
    for images, labels in data.batches(epoch=0):
        begin, shares = [v.numpy() for v in moving], []
        for part in range(devices):
            own, classes = images[part::devices], labels[part::devices]
            for variable, value in zip(moving, begin, strict=True):
                variable.assign(value)
            with tf.GradientTape() as tape:
                normalised = experiment.preprocessing.normalise(own)
                loss = entropy(classes, model(normalised, training=True)) / len(labels)
            weights = [v.value for v in model.trainable_variables]
            weight = len(classes) / len(labels)
            shares.append(
                (tape.gradient(loss, weights), [weight * v.numpy() for v in moving])
            )
        gradients, statistics = zip(*shares, strict=True)
        for variable, *parts in zip(moving, *statistics, strict=True):
            variable.assign(sum(parts))
        for variable, *parts in zip(model.trainable_variables, *gradients, strict=True):
            variable.assign_sub(recipe.learning_rate * sum(parts))
    return [v.numpy() for v in model.weights]


DEPTH = ["depths=(1,)", "survival=0.5"]
HALF = {"precision": "bfloat16", "ema": 0.9, "overrides": DEPTH}
BY_SAMPLE = {"overrides": [*DEPTH, "drop_mode=sample"], "batch_norm": "replica"}
BY_SAMPLE |= {"accumulation": 2, "ema": 0.9, "epochs": 1}
FROZEN = {"freeze": ["all"], "batch_norm": "replica", "epochs": 1}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """The runs of recipes on two devices."""
    # The last one trains without XLA because XLA cannot compile it.
    own = (OWN | {"xla": "on"}, OWN, OWN | {"uncompilable": True})
    recipes = (HALF, BY_SAMPLE, FROZEN, *own)
    return replicated(2, tmp_path_factory.mktemp("two"), *recipes)


@pytest.mark.slow
def test_each_device_normalises_by_its_own_images(two: list[Run]) -> None:
    runs = two[-3:]
    assert [run.config["device"]["xla"] for run in runs] == [True, False, True]
    expected = trained_by_hand(Recipe.from_dict(RECIPE | OWN), devices=2)
    for run in runs:
        found = keras.saving.load_model(run.model, compile=False).weights
        for name, value in zip(found, expected, strict=True):
            np.testing.assert_allclose(
                name.numpy(), value, rtol=1e-4, atol=2e-5, err_msg=name.path
            )


@pytest.mark.slow
def test_stochastic_depth_on_two_devices_ends_in_float32(two: list[Run]) -> None:
    """So does a network none of whose norms has statistics to exchange."""
    before = two[0].evaluated
    assessed = evaluate_run(two[0])
    assert assessed["top1"] == before["top1"]
    assert assessed["loss"] == pytest.approx(before["loss"], abs=1e-5)
