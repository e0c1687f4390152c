"""Loads the data of a recipe, or the data that a run was trained on."""

from dataclasses import replace

from keras_resnet.errors import UsageError
from training.data.identity import changed, location, require_location, resolved
from training.data.reading import ReadOptions
from training.data.sources import load_dataset, load_splits
from training.data.splits import hold_out, with_test
from training.data.types import Dataset
from training.recipes.recipe import Recipe
from training.runs.run import Run


def load_recipe_dataset(recipe: Recipe) -> Dataset:
    """Loads a recipe's data set with the splits for training and testing."""
    return load_dataset(
        recipe.dataset,
        validation=recipe.validation,
        reading=ReadOptions(recipe.skip_bad_images, recipe.cache, recipe.max_pixels),
    )


def load_run_dataset(
    run: Run, dataset: str | None = None, *, skip_bad_images: bool = False
) -> Dataset:
    """Loads a run's data set and checks that it has not changed.

    Args:
        run: The run.
        dataset: Current location of the data set; None: its stored location.
        skip_bad_images: Skip bad image files, even if the recipe does not.

    Raises:
        UsageError: Images or labels are not those that the run was trained on.
    """
    place = dataset or require_dataset_location(run)
    recipe = replace(_read_once(run.recipe), dataset=place)
    if skip_bad_images:
        recipe = replace(recipe, skip_bad_images=True)
    data = load_recipe_dataset(recipe)
    if difference := changed(run.config["dataset"], data):
        raise UsageError(
            f"{data.name} must be the data that {run.path} was trained on, "
            f"{difference}; restore it, or give its new location with --dataset "
            "(training.evaluate --dataset also evaluates other data and then does not "
            "change evaluation.json)"
        )
    return data


def load_other_dataset(
    run: Run, dataset: str, *, skip_bad_images: bool = False
) -> tuple[Dataset, bool]:
    """Loads a data set to evaluate a run on.

    All images of a data set without splits are test images. The run's own data set,
    however, is split as for the run, wherever it is now and even if it has changed.

    Args:
        run: The run.
        dataset: Name of the data set.
        skip_bad_images: Skip bad image files, even if the recipe does not.

    Returns:
        The data set, and whether it is the run's own and unchanged.
    """
    recipe = _read_once(run.recipe)
    skip = skip_bad_images or recipe.skip_bad_images
    data = load_splits(dataset, ReadOptions(skip, recipe.cache, recipe.max_pixels))
    stored = run.config["dataset"]
    same_place = resolved(dataset) == resolved(dataset_location(run))
    if same_place or "digest" in stored:
        try:
            as_trained = hold_out(with_test(data), "val", recipe.validation)
        except UsageError:  # too few images, so the data is not the run's
            if same_place:
                raise
        else:
            unchanged = changed(stored, as_trained) is None
            if same_place or unchanged:
                return as_trained, unchanged
    if set(data.splits) != {"train"}:
        return with_test(data), False
    return replace(data, splits={"test": data.splits["train"]}), False


def dataset_location(run: Run) -> str:
    """Returns the name of a run's data set, with its absolute path if that exists."""
    return location(run.recipe.dataset, run.config["dataset"])


def require_dataset_location(run: Run) -> str:
    """Returns ``dataset_location`` of a run.

    Raises:
        UsageError: The data set is missing.
    """
    return require_location(run.recipe.dataset, run.config["dataset"], run.path)


def _read_once(recipe: Recipe) -> Recipe:
    """Returns the recipe without a cache that only speeds up repeated reading."""
    return replace(recipe, cache="none") if recipe.cache == "memory" else recipe
