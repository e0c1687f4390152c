"""The data of a recipe, and the data that a run was trained on."""

import os
from dataclasses import replace

from keras_resnet.errors import UsageError
from training.data.identity import absolute, changed, resolved
from training.data.reading import ReadOptions
from training.data.sources import load_dataset, load_splits
from training.data.splits import hold_out, with_test
from training.data.types import Dataset
from training.recipes.recipe import Recipe
from training.runs.run import Run


def load_recipe_dataset(recipe: Recipe) -> Dataset:
    """Loads a recipe's data set with the splits that it trains and tests on."""
    return load_dataset(
        recipe.dataset,
        validation=recipe.validation,
        reading=ReadOptions(recipe.skip_bad_images, recipe.cache, recipe.max_pixels),
    )


def load_run_dataset(run: Run, dataset: str | None = None) -> Dataset:
    """Loads a run's data set and checks that it is still what it was.

    Args:
        run: The run.
        dataset: Where the data set is now; None: where it was.

    Raises:
        UsageError: It has other images or labels than when the run was trained.
    """
    place = dataset or require_dataset_location(run)
    data = load_recipe_dataset(replace(_read_once(run.recipe), dataset=place))
    if difference := changed(run.config["dataset"], data):
        raise UsageError(
            f"{data.name} must be as it was when {run.path} was trained, "
            f"{difference}; restore it, or name its new place with --dataset "
            "(training.evaluate --dataset evaluates other data, too, and then leaves "
            "evaluation.json as it is)"
        )
    return data


def load_other_dataset(
    run: Run, dataset: str, *, skip_bad_images: bool = False
) -> tuple[Dataset, bool]:
    """Loads a data set to evaluate a run on.

    A data set without splits is for testing as a whole, but the run's own is split as
    it was for the run, wherever it is now, also if it has changed.

    Args:
        run: The run.
        dataset: Its name.
        skip_bad_images: Leave out files that are no image; the recipe may, too.

    Returns:
        The data set, and whether it is the run's own and has not changed.
    """
    recipe = _read_once(run.recipe)
    skip = skip_bad_images or recipe.skip_bad_images
    data = load_splits(dataset, ReadOptions(skip, recipe.cache, recipe.max_pixels))
    at_home = resolved(dataset) == resolved(dataset_location(run))
    try:
        own = hold_out(with_test(data), "val", recipe.validation)
    except UsageError:
        if at_home:
            raise
    else:
        stored = run.config["dataset"]
        certain = at_home or "digest" in stored
        if certain and changed(stored, own) is None:
            return own, True
        if at_home:
            return own, False
    if set(data.splits) != {"train"}:
        return with_test(data), False
    return replace(data, splits={"test": data.splits["train"]}), False


def _read_once(recipe: Recipe) -> Recipe:
    """The recipe, without a cache that only pays where images are read repeatedly."""
    return replace(recipe, cache="none") if recipe.cache == "memory" else recipe


def dataset_location(run: Run) -> str:
    """Returns the name of a run's data set, with its absolute place while it is there.

    Else the name is the one that the user wrote.
    """
    written = run.recipe.dataset
    place = str(run.config["dataset"].get("place", written))
    return written if _is_gone(place) else place


def require_dataset_location(run: Run) -> str:
    """Returns ``dataset_location`` a run's data set.

    Raises:
        UsageError: It is not there.
    """
    place = dataset_location(run)
    if _is_gone(place):
        raise UsageError(
            f"the data set of {run.path} must be in its place, got no {place!r}; if it "
            "was moved, name its new place with --dataset"
        )
    return place


def _is_gone(name: str) -> bool:
    """Tells whether a data set is a folder of this machine that is not there."""
    path = absolute(name).partition(":")[2]
    return os.path.isabs(path) and not os.path.isdir(path)
