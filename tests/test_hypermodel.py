"""Networks for any keras-tuner: every field counts, and all can be saved."""

import json
import subprocess
import sys
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

from keras_resnet.archive import load_model
from keras_resnet.errors import UsageError
from training.recipes.recipe import Recipe
from training.sweeps.hypermodel import USED, ResNetHyperModel

BASE = Recipe(
    overrides=("depths=(1,)",),
    schedule="step",
    warmup_from=0.1,
    epochs=4,
    xla="off",  # compiling takes most of a test's time
)
IMAGES = np.random.default_rng(0).normal(size=(8, 8, 8, 1)).astype("float32")
LABELS = np.arange(8) % 3


def compiled(recipe: Recipe) -> keras.Model:
    hypermodel = ResNetHyperModel(
        ["width=16"], recipe, input_shape=(8, 8, 1), classes=3, steps_per_epoch=4
    )
    return hypermodel.build(keras_tuner.HyperParameters())


# Another value of each field, and what the field needs to count.
CHANGED: dict[str, tuple[Any, dict[str, Any]]] = {
    "model": ("resnet32_cifar", {}),
    "overrides": (("depths=(2,)",), {}),
    "freeze": (("stem",), {}),
    "precision": ("bfloat16", {}),
    "xla": ("on", {}),
    "epochs": (5, {}),
    "batch_size": (64, {"base_batch_size": 256}),
    "base_batch_size": (64, {}),
    "optimizer": ("lamb", {}),
    "learning_rate": (0.2, {}),
    "head_learning_rate": (0.2, {}),
    "schedule": ("linear", {}),
    "milestones": ((0.25,), {}),
    "peak_at": (0.5, {"schedule": "one_cycle"}),
    "warmup": ("constant", {}),
    "warmup_epochs": (2.0, {}),
    "warmup_steps": (3, {}),
    "warmup_from": (0.2, {}),
    "momentum": (0.8, {}),
    "nesterov": (False, {}),
    "weight_decay": (0.1, {}),
    "decay": ("all", {}),
    "clip_norm": (1.0, {}),
    "loss": ("bce", {}),
    "label_smoothing": (0.1, {}),
    "bce_threshold": (0.2, {"loss": "bce"}),
}


@cache
def described(recipe: Recipe) -> str:
    model = compiled(recipe)
    parts = [model.get_config(), model.get_compile_config()]
    trained = [v.path for v in model.trainable_variables]
    return json.dumps([*parts, trained], sort_keys=True, default=str)


def test_each_field_of_a_recipe_is_used_or_refused(tmp_path: Path) -> None:
    assert CHANGED.keys() | {"weights"} == USED
    other = {int: 7, float: 0.5, tuple: (0.5,), str: None, bool: True, type(None): 8}
    choices = {
        **{"dataset": "digits2", "cache": "memory", "augmentation": "none"},
        **{"flip": "on", "policy": "randaugment", "eval_crop": 0.5},
        "batch_norm": "replica",
    }
    default = Recipe()
    # cache_side is refused without cache, and cache is refused.
    for name in {field.name for field in fields(Recipe)} - USED - {"cache_side"}:
        value = choices.get(name, other[type(getattr(default, name))])
        with pytest.raises(UsageError, match=f"{name} of the recipe must be .*, got"):
            compiled(replace(BASE, **{name: value}))
        with pytest.raises(UsageError, match=f"(between trials|schedule, got '{name})"):
            ResNetHyperModel(
                [f"{name}={value}"],
                BASE,
                input_shape=(8, 8, 1),
                classes=3,
                steps_per_epoch=4,
            )


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGED)
def test_a_field_that_is_used_changes_what_is_compiled(name: str) -> None:
    value, needed = CHANGED[name]
    before = replace(BASE, **needed)
    after = replace(before, **{name: value})
    assert described(before) != described(after)


def test_weights_are_taken_over(tmp_path: Path) -> None:
    first = compiled(BASE)
    first.save_weights(tmp_path / "first.weights.h5")
    second = compiled(replace(BASE, weights=str(tmp_path / "first.weights.h5")))
    for mine, theirs in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("decay", ["kernels", "all"])
def test_the_loss_is_the_recipe_s(decay: str) -> None:
    # By hand: binary cross-entropies of targets smoothed by 0.3 and cut at 0.15, and
    # λ/2·‖w‖² of the weights that decay.
    recipe = replace(
        BASE,
        loss="bce",
        label_smoothing=0.3,
        bce_threshold=0.15,
        weight_decay=0.01,
        decay=decay,
    )
    model = compiled(recipe)
    found = model.evaluate(IMAGES, LABELS, verbose=0)[0]
    targets = (0.7 * np.eye(3)[LABELS] + 0.1 > 0.15).astype(float)
    logits = model.predict(IMAGES, verbose=0)
    losses = np.logaddexp(0, logits) - targets * logits
    shrunk = [
        np.square(v.numpy()).sum()
        for v in model.trainable_variables
        if decay == "all" or v.name == "kernel"
    ]
    assert found == pytest.approx(losses.mean() + 0.005 * sum(shrunk), rel=1e-4)


SAVED = {
    "sgd": {"decay": "all"},
    "adamw": {"optimizer": "adamw", "precision": "float16", "head_learning_rate": 0.2},
    "lamb": {"optimizer": "lamb", "schedule": "one_cycle", "loss": "bce"},
}
LOAD = """
import sys, keras, numpy as np, training.optimisation
images, labels = np.load(sys.argv[1]).values()
for path in sys.argv[2:]:
    model = keras.models.load_model(path)
    model.fit(images, labels, batch_size=4, shuffle=False, verbose=0)
    np.savez(path + ".npz", *model.get_weights())
"""


@pytest.mark.slow
def test_a_checkpoint_goes_on_in_another_process(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", IMAGES, LABELS)
    models = {}
    for name, changed in SAVED.items():
        models[name] = model = compiled(replace(BASE, **changed))
        keeper = keras.callbacks.ModelCheckpoint(tmp_path / f"{name}.keras")
        options = {"batch_size": 4, "shuffle": False, "verbose": 0}
        model.fit(IMAGES, LABELS, callbacks=[keeper], **options)
        assert load_model(tmp_path / f"{name}.keras").name == "resnet20_cifar"
        model.fit(IMAGES, LABELS, **options)
    paths = [str(tmp_path / f"{name}.keras") for name in SAVED]
    line = [sys.executable, "-c", LOAD, str(tmp_path / "data.npz"), *paths]
    subprocess.run(line, check=True, timeout=600)
    for path, model in zip(paths, models.values(), strict=True):
        found = np.load(f"{path}.npz").values()
        for mine, theirs in zip(model.get_weights(), found, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-5)
