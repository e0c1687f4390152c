"""Compares the data of a sweep with the data that the sweep was begun on."""

from dataclasses import replace

from keras_resnet.errors import UsageError
from training.data.identity import absolute, changed, require_location, resolved
from training.data.types import Dataset
from training.recipes.recipe import Recipe
from training.sweeps.folder import Sweep


def with_data_location(sweep: Sweep, recipe: Recipe) -> Recipe:
    """Returns a recipe with the absolute location of the sweep's data set.

    Args:
        sweep: A sweep that was begun.
        recipe: Returned as it is if it names another data set than the sweep's.

    Raises:
        UsageError: The data set is missing.
    """
    stored = sweep.settings.get("dataset")
    if stored is None or recipe.dataset != sweep.settings["recipe"]["dataset"]:
        return recipe
    place = require_location(recipe.dataset, stored, sweep.path)
    return replace(recipe, dataset=place)


def require_same_data(sweep: Sweep, dataset: Dataset) -> None:
    """Checks that a sweep would continue with the data that it was begun on.

    Args:
        sweep: If it has not begun, there is nothing to compare. If an older version
            began it, locations are compared.
        dataset: The data set that the next trials would train on.

    Raises:
        UsageError: Images, labels or the location differ.
    """
    if not sweep.exists:
        return
    stored = sweep.settings.get("dataset")
    if stored is None:
        before = sweep.settings["recipe"].get("dataset", Recipe.dataset)
        if resolved(before) != resolved(dataset.name):
            raise UsageError(
                f"a sweep must be resumed with the same dataset ({before}), got "
                f"{dataset.name}; omit the option or choose another --out"
            )
    elif difference := changed(stored, dataset):
        raise UsageError(
            f"{dataset.name} must be the data that {sweep.path} was begun on, "
            f"{difference}; restore it, give its new location with --dataset, or "
            "choose another --out"
        )


def store_data_location(sweep: Sweep, dataset: Dataset) -> None:
    """Stores the new location of a sweep's data set that was moved."""
    stored, place = sweep.settings.get("dataset"), absolute(dataset.name)
    if stored is not None and stored["place"] != place:
        sweep.move_data(place)
