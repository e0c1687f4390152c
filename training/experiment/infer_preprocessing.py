"""Derives a model's preprocessing from a recipe and a data set."""

import numpy as np

from training.data.pipeline import evaluation_batches
from training.data.preprocessing import Preprocessing
from training.data.types import Dataset, Size, Split
from training.experiment.augmentation import resolve_geometry
from training.experiment.finetuning import normalisation
from training.recipes.recipe import Recipe

STATISTICS_FROM = 5000  # maximum number of images to measure mean and deviation on


def infer_preprocessing(
    recipe: Recipe, dataset: Dataset, default: Size
) -> Preprocessing:
    """Returns the preprocessing for a recipe and a data set.

    Args:
        recipe: Gives size and crop, or leaves them to the data.
        dataset: Mean and deviation are measured on its training images, unless those
            of the recipe's weights are known.
        default: Height and width for images of several sizes if the recipe gives none.
    """
    size = input_size(recipe.image_size, dataset, default)
    whole = resolve_geometry(recipe, dataset) in ("none", "pad_crop")
    crop = recipe.eval_crop or (1.0 if whole else 0.875)
    known = recipe.weights and normalisation(
        recipe.weights, recipe.model, dataset.channels
    )
    unscaled = Preprocessing(size, dataset.channels, crop, (), ())
    mean, deviation = known or _statistics(unscaled, dataset.splits["train"])
    return Preprocessing(size, dataset.channels, crop, mean, deviation)


def input_size(side: int | None, dataset: Dataset, default: Size) -> Size:
    """Returns the height and width of a model's input.

    Args:
        side: The recipe's side in pixels, or None.
        dataset: The data set, with images of one or several sizes.
        default: Height and width for images of several sizes.
    """
    return (side, side) if side else dataset.size or default


def _statistics(
    preprocessing: Preprocessing, split: Split
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measures each channel's mean, and deviation of at least one grey level."""
    count = min(len(split), STATISTICS_FROM)
    rng = np.random.default_rng(0)
    sample = split.take(np.sort(rng.permutation(len(split))[:count]))
    total = np.zeros(preprocessing.channels)
    squares = np.zeros(preprocessing.channels)
    for batch, _ in evaluation_batches(sample, preprocessing, 256).as_numpy_iterator():
        values = batch.astype(np.float64)
        total += values.mean((1, 2)).sum(0)
        squares += (values**2).mean((1, 2)).sum(0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 1.0))
    return tuple(mean.round(4).tolist()), tuple(deviation.round(4).tolist())
