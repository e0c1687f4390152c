"""Where data sets come from: one module a kind of source."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from keras_resnet.errors import UsageError, first_few
from training.data.datasets import Dataset, hold_out, with_test
from training.data.identity import changed, home_of, place_of, resolved
from training.data.sources import folder, idx, memory, prepared
from training.data.sources.reading import Reading
from training.recipes import Recipe
from training.runs import Run

LOADERS: dict[str, Callable[..., Dataset]] = {
    "digits": memory.digits,
    "tfds": prepared.load,
    "idx": idx.load,
    "folder": folder.load,
    "synthetic": memory.synthetic,
}
FROM_FILES = ("folder", "tfds")  # whose loaders are told how to read image files


def load_dataset(
    name: str, *, validation: float = 0.0, reading: Reading | None = None
) -> Dataset:
    """Loads a data set by its name on the command line, to train and test on.

    Args:
        name: ``digits``, ``tfds:NAME``, ``idx:DIR``, ``folder:DIR`` or
            ``synthetic:HxWxC:CLASSES:N``.
        validation: Share of the training images to hold out as the split ``"val"``,
            where the data has none.
        reading: How files are read; None: with the defaults.

    Raises:
        UsageError: The data set is unknown, missing or damaged.
    """
    dataset = _load(name, reading or Reading())
    return _noting_absences(hold_out(with_test(dataset), "val", validation))


def _noting_absences(dataset: Dataset) -> Dataset:
    """Notes the classes that are trained on but have no image in another split."""
    classes = {n: np.unique(split.labels) for n, split in dataset.splits.items()}
    notes = []
    for name in dataset.splits:
        absent = np.setdiff1d(classes["train"], classes[name])
        if len(absent):
            labels = [dataset.labels[number] for number in absent]
            notes.append(f"{name} split: no image of {first_few(labels)}")
    return replace(dataset, notes=(*dataset.notes, *notes))


def recipe_data(recipe: Recipe) -> Dataset:
    """Loads a recipe's data set with the splits that it trains and tests on."""
    return load_dataset(
        recipe.dataset,
        validation=recipe.validation,
        reading=Reading(recipe.skip_bad_images, recipe.cache, recipe.max_pixels),
    )


def run_data(run: Run, dataset: str | None = None) -> Dataset:
    """Loads a run's data set and checks that it is still what it was.

    Args:
        run: The run.
        dataset: Where the data set is now; None: where it was.

    Raises:
        UsageError: It has other images or labels than when the run was trained.
    """
    place = dataset or home_of(run)
    data = recipe_data(replace(_read_once(run.recipe), dataset=place))
    if difference := changed(run.config["dataset"], data):
        raise UsageError(
            f"{data.name} must be as it was when {run.path} was trained, "
            f"{difference}; restore it, or name its new place with --dataset "
            "(training.evaluate --dataset evaluates other data, too, and then leaves "
            "evaluation.json as it is)"
        )
    return data


def other_data(
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
    data = _load(dataset, Reading(skip, recipe.cache, recipe.max_pixels))
    at_home = resolved(dataset) == resolved(place_of(run))
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


def _load(name: str, reading: Reading) -> Dataset:
    kind, _, argument = name.partition(":")
    if kind not in LOADERS:
        raise UsageError(
            "dataset must be digits, tfds:NAME, idx:DIR, folder:DIR or "
            f"synthetic:HxWxC:CLASSES:N, got {name!r}"
        )
    if kind in FROM_FILES:
        return replace(LOADERS[kind](argument, reading), name=name)
    dataset = LOADERS[kind](argument)
    if reading.cache != "none":
        note = f"--cache {reading.cache} changes nothing: {kind} is in memory"
        dataset = replace(dataset, notes=(*dataset.notes, note))
    return replace(dataset, name=name)
