"""Where data sets come from: one module a kind of source."""

from collections.abc import Callable
from dataclasses import replace

from keras_resnet.errors import UsageError
from training.datasets import Dataset, hold_out, with_test
from training.recipes import Recipe
from training.sources import folder, idx, memory, prepared

LOADERS: dict[str, Callable[[str], Dataset]] = {
    "digits": memory.digits,
    "tfds": prepared.load,
    "idx": idx.load,
    "folder": folder.load,
    "synthetic": memory.synthetic,
}


def load_dataset(
    name: str, *, validation: float = 0.0, skip_bad_images: bool = False
) -> Dataset:
    """Loads a data set by its name on the command line.

    Args:
        name: ``digits``, ``tfds:NAME``, ``idx:DIR``, ``folder:DIR`` or
            ``synthetic:HxWxC:CLASSES:N``.
        validation: Share of the training images to hold out as the split ``"val"``,
            where the data has none.
        skip_bad_images: Leave out files of a folder that are no image, with a note.

    Raises:
        UsageError: The data set is unknown, missing or damaged.
    """
    kind, _, argument = name.partition(":")
    if kind not in LOADERS:
        raise UsageError(
            "dataset must be digits, tfds:NAME, idx:DIR, folder:DIR or "
            f"synthetic:HxWxC:CLASSES:N, got {name!r}"
        )
    if kind == "folder":
        dataset = folder.load(argument, skip_bad_images=skip_bad_images)
    else:
        dataset = LOADERS[kind](argument)
    dataset = replace(dataset, name=name)
    return hold_out(with_test(dataset), "val", validation)


def recipe_data(recipe: Recipe) -> Dataset:
    """Loads a recipe's data set with the splits that it trains and tests on."""
    return load_dataset(
        recipe.dataset,
        validation=recipe.validation,
        skip_bad_images=recipe.skip_bad_images,
    )
