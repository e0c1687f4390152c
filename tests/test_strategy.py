"""Several replicas train as one: the same numbers, each example once, equal weights."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data import gathered, pixel_dataset

from keras_resnet.errors import UsageError
from training import pipeline
from training.devices import Hardware, place
from training.preprocessing import Preprocessing
from training.recipes import Recipe
from training.runs import Run
from training.strategy import Replicas, require_shares

PREPARED = Preprocessing((8, 8), 1, 1.0, (), ())
GPU = Hardware("gpu", "V100", bfloat16=False, float16=True)


@pytest.mark.parametrize("parts", [2, 3, 4])
@pytest.mark.parametrize("count", [12, 13, 25, 3])
def test_shares_have_each_example_once_in_as_many_steps(count: int, parts: int) -> None:
    dataset = pixel_dataset(count)
    recipe = Recipe(augmentation="none", batch_size=12)
    whole = pipeline.training_batches(recipe, dataset, PREPARED, epoch=1)
    shares = [
        list(
            pipeline.training_batches(
                recipe, dataset, PREPARED, epoch=1, share=(part, parts)
            ).as_numpy_iterator()
        )
        for part in range(parts)
    ]
    for (images, labels), *pieces in zip(
        whole.as_numpy_iterator(), *shares, strict=True
    ):
        assert sorted(np.concatenate([y for _, y in pieces])) == sorted(labels)
        assert max(len(y) for _, y in pieces) - min(len(y) for _, y in pieces) <= 1
        assert sum(len(x) for x, _ in pieces) == len(images)


@pytest.mark.parametrize(
    ("count", "batch_size", "message"),
    [
        (50, 12, None),  # two are left for two devices
        (48, 12, None),
        (49, 12, "last batch must have an image for each of the 2 devices, got 1 of"),
        (48, 13, "batch_size must be a multiple of the 2 devices .* got 13"),
    ],
)
def test_every_device_has_an_example_of_every_batch(
    count: int, batch_size: int, message: str | None
) -> None:
    if message is None:
        require_shares(count, batch_size, devices=2)
        return
    with pytest.raises(UsageError, match=message):
        require_shares(count, batch_size, devices=2)


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
    with pytest.raises(UsageError, match=r"xla must be off .* on 2 devices, got"):
        place(GPU, macs=1, replicas=2, **forced)


def test_several_devices_leave_float16_and_xla_alone() -> None:
    placed = place(GPU, precision="auto", xla="auto", macs=1, replicas=2)
    assert (placed.precision, placed.xla) == ("float32", False)
    assert placed.xla_reason == "2 devices train together"


def replicated(count: int, out: Path, *fields: str) -> dict[str, object]:
    script = Path(__file__).with_name("replicated.py")
    line = [sys.executable, str(script), str(count), str(out), *fields]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def curves(path: Path) -> list[list[float]]:
    with Run(path).history.open(newline="") as file:
        names = ("loss", "top1", "val_loss", "val_top1", "learning_rate")
        return [[float(row[name]) for name in names] for row in csv.DictReader(file)]


@pytest.mark.slow
def test_three_devices_give_the_numbers_of_one(tmp_path: Path) -> None:
    for count in (1, 3):
        found = replicated(count, tmp_path / str(count))
        assert found == {"replicas": count, "equal": True}
    one, three = (Run(tmp_path / str(count)) for count in (1, 3))
    np.testing.assert_allclose(curves(one.path), curves(three.path), atol=1e-4)
    assert one.evaluated["examples"] == three.evaluated["examples"]
    assert one.evaluated["top1"] == three.evaluated["top1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields", [("survival=0.5",), ("survival=0.5", "drop_mode=sample")]
)
def test_stochastic_depth_on_two_devices(
    fields: tuple[str, ...], tmp_path: Path
) -> None:
    found = replicated(2, tmp_path / "run", *fields)
    assert found == {"replicas": 2, "equal": True}
