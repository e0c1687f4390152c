"""Loads the data of a recipe, or the data that a run was trained on."""

from dataclasses import replace

from keras_resnet.errors import UsageError
from training.data.identity import changed, location, require_location, resolved
from training.data.reading import ReadOptions
from training.data.sources import load_dataset, load_splits
from training.data.splits import hold_out, with_test
from training.data.types import Dataset, without_stand_ins
from training.recipes.recipe import Recipe
from training.runs.run import Run


def load_recipe_dataset(recipe: Recipe) -> Dataset:
    """Loads a recipe's data set with the splits for training and testing."""
    return load_dataset(
        recipe.dataset,
        validation=recipe.validation,
        reading=ReadOptions(recipe.skip_bad_images, recipe.cache, recipe.max_pixels),
    )


def load_run_dataset(run: Run, dataset: str | None = None) -> Dataset:
    """Loads a run's data set and checks that it has not changed.

    Args:
        run: The run.
        dataset: Current location of the data set; None: its stored location.

    Raises:
        UsageError: Images or labels are not those that the run was trained on.
    """
    place = dataset or require_dataset_location(run)
    data = load_recipe_dataset(replace(_read_once(run.recipe), dataset=place))
    if difference := changed(run.config["dataset"], data):
        raise _changed_error(run, data, difference)
    return data


def load_good_run_dataset(run: Run) -> tuple[Dataset, bool]:
    """Loads a run's data set without the files that are not images.

    Args:
        run: The run.

    Returns:
        The data set, and whether it has all images of the run.

    Raises:
        UsageError: The remaining images or labels are not the run's.
    """
    data = _load_splits(run, require_dataset_location(run), skip=True)
    found = _as_trained(run, data)
    if found is None:
        rest = _split(run, without_stand_ins(data))
        raise _changed_error(run, rest, changed(run.config["dataset"], rest))
    return found


def load_other_dataset(
    run: Run, dataset: str, *, skip_bad_images: bool = False
) -> tuple[Dataset, bool]:
    """Loads a data set to evaluate a run on.

    All images of a data set without splits are test images. The run's own data set,
    however, is split as for the run, wherever it is now and even if it has changed.

    Args:
        run: The run.
        dataset: Name of the data set.
        skip_bad_images: Skip files that are not images, even if the recipe does not.

    Returns:
        The data set, and whether it is the run's own and unchanged.
    """
    skip = skip_bad_images or run.recipe.skip_bad_images
    data = _load_splits(run, dataset, skip=skip)
    stored = run.config["dataset"]
    same_place = resolved(dataset) == resolved(location(run.recipe.dataset, stored))
    found = None
    if same_place or "digest" in stored:
        try:
            found = _as_trained(run, data)
        except UsageError:
            if same_place:
                raise
    if found is not None:
        return found
    data = without_stand_ins(data)
    if same_place:
        return _split(run, data), False
    if set(data.splits) != {"train"}:
        return with_test(data), False
    return replace(data, splits={"test": data.splits["train"]}), False


def require_dataset_location(run: Run) -> str:
    """Returns the name of a run's data set, with its absolute path if that exists.

    Raises:
        UsageError: The data set is missing.
    """
    return require_location(run.recipe.dataset, run.config["dataset"], run.path)


def _as_trained(run: Run, data: Dataset) -> tuple[Dataset, bool] | None:
    """Returns a data set with the splits of a run if it is the run's own.

    The digest of a split with skipped files proves nothing; only its images are
    counted. At least one other split must then be complete and match.

    Args:
        run: The run.
        data: The data set; other images may take the place of skipped files.

    Returns:
        The data set without these images, and whether it has all images of the run;
        None: it is another data set.
    """
    stored = run.config["dataset"]
    rest = _split(run, without_stand_ins(data))
    if changed(stored, rest) is None:
        return rest, True
    whole = _split(run, data)
    counts = {name: len(split.good) for name, split in whole.splits.items()}
    partial = [
        name for name, split in whole.splits.items() if counts[name] < len(split)
    ]
    comparable = 0 < len(partial) < len(counts) and all(counts.values())
    if not comparable or changed(stored, whole, but=partial) is not None:
        return None
    note = f"the rest of {' and '.join(partial)} cannot be compared with the run's"
    found = replace(without_stand_ins(whole), notes=(*whole.notes, note))
    return found, False


def _load_splits(run: Run, dataset: str, *, skip: bool) -> Dataset:
    """Loads a data set as the run's was, other images in the place of skipped files."""
    recipe = _read_once(run.recipe)
    reading = ReadOptions(skip, recipe.cache, recipe.max_pixels, stand_ins=skip)
    return load_splits(dataset, reading)


def _split(run: Run, data: Dataset) -> Dataset:
    """Splits a data set as the run's was."""
    return hold_out(with_test(data), "val", run.recipe.validation)


def _changed_error(run: Run, data: Dataset, difference: str | None) -> UsageError:
    return UsageError(
        f"{data.name} must be the data that {run.path} was trained on, "
        f"{difference}; restore it, or give its new location with --dataset "
        "(training.evaluate --dataset also evaluates other data and then does not "
        "change evaluation.json)"
    )


def _read_once(recipe: Recipe) -> Recipe:
    """Returns the recipe without a cache that only speeds up repeated reading."""
    return replace(recipe, cache="none") if recipe.cache == "memory" else recipe
