"""Every recipe trains: two steps of it, on a few small images, on a small network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keras_resnet import load_model
from keras_resnet.errors import Stopped, UsageError
from training.evaluate import evaluate_run
from training.experiment import experiment
from training.experiment.train import train
from training.recipes.catalogue import RECIPES
from training.recipes.recipe import Recipe
from training.runs.run import Run


def shortened(recipe: Recipe) -> Recipe:
    """A recipe's ingredients for 13 images of 32×32, one epoch of two steps a size."""
    kept = tuple(o for o in recipe.overrides if not o.startswith("depths="))
    narrow = ("width=8",) if recipe.model.startswith("resnet50") else ()
    small = recipe.train_size is not None
    return replace(
        recipe,
        overrides=(*kept, "depths=(1,)", *narrow),
        dataset="synthetic:32x32x3:3:16",
        image_size=64 if small else 32,
        train_size=32 if small else None,
        epochs=len(recipe.progressive) + 1,
        warmup_epochs=min(recipe.warmup_epochs, 1.0),
        batch_size=8,
        validation=0.0,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_recipe_trains(name: str, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    train(shortened(RECIPES[name]), run)
    assert np.isfinite(run.evaluated["loss"])


AVERAGED = {
    **{"ema": 0.9, "mixup": 0.2, "optimizer": "adamw", "learning_rate": 1e-3},
    "overrides": ("depths=(1,)",),
}


@pytest.mark.slow
def test_an_averaged_run_is_resumed_and_evaluates_its_average(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from test_session import stop_after

    recipe = replace(run.recipe, progressive=(0.75,), **AVERAGED)
    whole, halves = Run(tmp_path / "whole"), Run(tmp_path / "halves")
    train(recipe, whole)
    stop_after(monkeypatch, steps=3, number=15)
    with pytest.raises(Stopped, match="saved at step 1 of epoch 2"):
        train(recipe, halves)
    monkeypatch.undo()
    train(recipe, halves)
    ours, theirs = load_model(halves.model), load_model(whole.model)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert halves.evaluated == whole.evaluated
    assert evaluate_run(whole).items() >= whole.evaluated.items()
    assert theirs.input_shape == (None, 12, 8, 3)


def test_a_network_too_large_for_the_memory_is_refused() -> None:
    """Before a weight of it is there."""
    data, wide = "synthetic:8x8x3:3:16", (f"width={2**15}",)
    recipe = Recipe(model="resnet20_cifar", dataset=data, overrides=wide)
    said = "^weights of resnet20_cifar must fit in half of the free memory, got "
    with pytest.raises(UsageError, match=said):
        experiment.build_experiment(recipe)


@pytest.mark.slow
def test_too_small_images_are_refused() -> None:
    recipe = Recipe(dataset="synthetic:8x8x3:3:16", progressive=(0.25,))
    with pytest.raises(
        ValueError, match=r"at least 4 pixels wide and high, got \(2, 2\)"
    ):
        experiment.build_experiment(recipe)
