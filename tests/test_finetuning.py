"""Weights to start from, and what stays of them."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_resnet import create_model, load_model
from keras_resnet.catalogue import find_spec
from keras_resnet.errors import UsageError
from keras_resnet.layers import leaf_layers
from training.data.preprocessing import Preprocessing
from training.engine.forward import ModelPair
from training.experiment import experiment, finetuning
from training.experiment.optimisation import make_model_pair, make_step
from training.experiment.train import train
from training.recipes.recipe import Recipe
from training.runs.model_file import save_model
from training.runs.run import Run

PREPARED = Preprocessing((8, 8), 3, 1.0, (120.0,) * 3, (60.0,) * 3)
NETWORKS = {
    "resnet20_cifar": {"depths": (1, 1)},
    "resnet20_cifar stochastic": {"depths": (1, 1), "survival": 0.5},
    "densenet40_k12_cifar": {"depths": (1, 1), "memory_efficient": True},
}


def state(model: keras.Model) -> dict[str, np.ndarray]:
    return {v.path: v.numpy() for v in model.variables if v.dtype == "float32"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "parts"),
    [
        *((network, ("stem", "stage1")) for network in NETWORKS),
        ("resnet20_cifar stochastic", ("all",)),
    ],
)
def test_frozen_parts_stay_to_the_bit(
    network: str,
    parts: tuple[str, ...],
    enliven: Callable[[keras.Model], keras.Model],
) -> None:
    name, fields = network.partition(" ")[0], NETWORKS[network]
    shape = {"input_shape": (8, 8, 3), "classes": 3}
    model = enliven(create_model(name, **shape, **fields))
    finetuning.freeze(model, parts)
    before = state(model)
    overrides = tuple(f"{k}={v}" for k, v in fields.items())
    recipe = Recipe(model=name, overrides=overrides, decay="all", weight_decay=0.1)
    optimizer = keras.optimizers.SGD(0.1)
    models = ModelPair(model, model)
    made = make_step(models, PREPARED, optimizer=optimizer, recipe=recipe)
    rng = np.random.default_rng(0)
    for _ in range(4):
        images = tf.constant(rng.integers(0, 256, (6, 8, 8, 3), np.uint8))
        made.step(images, tf.constant([0, 1, 2, 0, 1, 2]))
    changed = {
        path for path, value in state(model).items() if (value != before[path]).any()
    }
    stays = {
        path
        for path in before
        if not path.startswith("logits")
        and (parts == ("all",) or path.startswith(("stem_", "stage1_")))
    }
    assert stays and not changed & stays
    assert changed == set(before) - stays


@pytest.mark.slow
def test_the_average_of_frozen_parts_stays_too() -> None:
    models = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        models.append(
            create_model(
                "resnet20_cifar", input_shape=(8, 8, 3), classes=3, depths=(1, 1)
            )
        )
    model, twin = models
    finetuning.freeze(twin, ("all",))
    before = state(model)
    optimizer = keras.optimizers.SGD(0.1)
    models = make_model_pair(model, find_spec("resnet20_cifar"), twin, ema=0.9)
    made = make_step(models, PREPARED, optimizer=optimizer, recipe=Recipe(ema=0.9))
    images = tf.random.stateless_uniform((6, 8, 8, 3), (0, 1), maxval=255.0)
    made.step(images, tf.constant([0, 1, 2, 0, 1, 2]))
    after = state(model)
    changed = {path for path in before if (after[path] != before[path]).any()}
    assert changed == {"logits/kernel", "logits/bias"}


@pytest.mark.parametrize("part", ["stage9", "stag", "stage1_block", "pool", ""])
def test_unknown_part_is_refused(part: str) -> None:
    model = create_model("resnet20_cifar", depths=(1, 1), input_shape=(8, 8, 3))
    known = rf"a part of resnet20_cifar \(stem, stage1, .*\), got '{part}'"
    with pytest.raises(UsageError, match=known):
        finetuning.freeze(model, ("stem", part))


def test_a_block_or_layer_can_be_frozen() -> None:
    model = create_model("resnet20_cifar", depths=(2, 1), input_shape=(8, 8, 3))
    names = [
        x.name for x in finetuning.frozen_layers(model, ("stage1_block2", "logits"))
    ]
    assert {"stage1_block2_conv1", "stage1_block2_norm2", "logits"} <= set(names)
    assert all(n.startswith("stage1_block2_") or n == "logits" for n in names)


def test_red_and_blue_are_swapped() -> None:
    model = create_model("resnet20_cifar", depths=(1,), input_shape=(8, 8, 3))
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    before = model(images[..., ::-1]).numpy()
    finetuning.swap_red_and_blue(model)
    np.testing.assert_allclose(model(images).numpy(), before, atol=1e-5)


@pytest.mark.parametrize(
    "weights, model, channels, mean",
    [
        ("imagenet", "resnet50", 3, (123.68, 116.779, 103.939)),
        ("imagenet", "vgg16", 3, (123.68, 116.779, 103.939)),
        ("imagenet", "resnet50_v2_keras", 3, (127.5, 127.5, 127.5)),
        ("imagenet", "densenet121", 3, (123.675, 116.28, 103.53)),
        ("a/resnet50.pth", "resnet50_v1_5", 3, (123.675, 116.28, 103.53)),
        ("a/resnet50.pth", "resnet50_v1_5", 1, None),
        ("a/model.keras", "resnet50", 3, None),
    ],
)
def test_normalisation_is_the_weights(
    weights: str, model: str, channels: int, mean: tuple[float, ...] | None
) -> None:
    found = finetuning.normalisation(weights, model, channels)
    assert (found and found[0]) == mean


@pytest.mark.parametrize("name", ["model.keras", "no/such/folder/model.keras"])
def test_saving_leaves_the_network_as_it_was(name: str, tmp_path: Path) -> None:
    model = create_model("resnet20_cifar", depths=(1, 1), input_shape=(8, 8, 3))
    model.optimizer = keras.optimizers.SGD()
    finetuning.freeze(model, ("stem", "stage1"))
    before = {layer.name: layer.trainable for layer in leaf_layers(model)}
    assert not all(before.values())
    with contextlib.suppress(FileNotFoundError):
        save_model(model, tmp_path / name)
    assert {layer.name: layer.trainable for layer in leaf_layers(model)} == before
    assert isinstance(model.optimizer, keras.optimizers.SGD)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"preprocessing": 1}', '{"model_type": "x"}']
)
def test_a_foreign_config_tells_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    weights = str(tmp_path / "some.weights.h5")
    assert finetuning.normalisation(weights, "resnet50", 3) is None


@pytest.mark.slow
def test_a_run_starts_from_a_run(run: Run, tmp_path: Path) -> None:
    recipe = replace(
        run.recipe,
        dataset="synthetic:12x8x3:5:40",
        weights=str(run.model),
        freeze=("all",),
        head_learning_rate=0.5,
        epochs=1,
        warmup_epochs=0.0,
    )
    tuned = Run(tmp_path / "run")
    built = experiment.build_experiment(recipe)
    (note,) = built.notes
    assert "5 classes" in note
    theirs = run.config["preprocessing"]
    assert list(built.preprocessing.mean) == theirs["mean"]
    assert list(built.preprocessing.deviation) == theirs["deviation"]
    train(recipe, tuned)
    before, after = state(load_model(run.model)), state(load_model(tuned.model))
    assert all(
        np.array_equal(before[path], after[path])
        for path in before
        if not path.startswith("logits")
    )
    assert after["logits/kernel"].shape[1] == 5
    assert all(layer.trainable for layer in leaf_layers(load_model(tuned.model)))


@pytest.mark.slow
def test_missing_weights_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    recipe = Recipe(weights=str(tmp_path / "no.keras"))
    with pytest.raises(UsageError, match="an existing file, got"):
        train(recipe, Run(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
