"""Where data sets come from: one module a kind of source."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from keras_resnet.errors import UsageError, first_few
from training.data.datasets import Dataset, hold_out, with_test
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


def load_foreign(name: str, *, skip_bad_images: bool = False) -> Dataset:
    """Loads a data set to test on only; without splits, all of it is for testing."""
    dataset = _load(name, Reading(skip_bad_images))
    if set(dataset.splits) != {"train"}:
        return with_test(dataset)
    return replace(dataset, splits={"test": dataset.splits["train"]})


def recipe_data(recipe: Recipe) -> Dataset:
    """Loads a recipe's data set with the splits that it trains and tests on."""
    return load_dataset(
        recipe.dataset,
        validation=recipe.validation,
        reading=Reading(recipe.skip_bad_images, recipe.cache, recipe.max_pixels),
    )


def run_data(run: Run) -> Dataset:
    """Loads a run's data set and checks that it is still what it was.

    Raises:
        UsageError: It has other images or classes than when the run was trained.
    """
    recipe = run.recipe
    if recipe.cache == "memory":  # nothing is gained by it where images are read once
        recipe = replace(recipe, cache="none")
    dataset = recipe_data(recipe)
    before = run.config["dataset"]
    examples = {name: len(split) for name, split in dataset.splits.items()}
    if (examples, list(dataset.labels)) != (before["examples"], before["labels"]):
        raise UsageError(
            f"{dataset.name} must be as it was when {run.path} was trained, "
            f"{before['examples']} images of {len(before['labels'])} classes; got "
            f"{examples} of {len(dataset.labels)}"
        )
    return dataset


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
