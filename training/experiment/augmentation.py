"""Builds the training data and augmentation that a recipe specifies."""

from dataclasses import replace

from keras_resnet.errors import UsageError
from training.data.augmentation.augmentation import Augmentation, Geometry
from training.data.augmentation.mixing import Mixing
from training.data.augmentation.policies import POLICIES, RandAugment, TrivialAugment
from training.data.pipeline import TrainingData
from training.data.preprocessing import Preprocessing
from training.data.sources.decoded import decode_once
from training.data.types import Dataset, Size
from training.recipes.recipe import Recipe


def training_data(
    recipe: Recipe, dataset: Dataset, preprocessing: Preprocessing
) -> TrainingData:
    """Returns the augmented images that a recipe trains on.

    Args:
        recipe: The hyperparameters.
        dataset: The data set.
        preprocessing: The model's preprocessing.

    Raises:
        UsageError: The data cannot be augmented in the way that the recipe specifies.
    """
    _require_possible(recipe, dataset, preprocessing.size)
    augmentation = Augmentation(
        sizes=_sizes(recipe, preprocessing.size),
        epochs=recipe.epochs,
        geometry=resolve_geometry(recipe, dataset),
        pad=recipe.pad,
        flip=dataset.mirrors if recipe.flip == "auto" else recipe.flip == "on",
        policy=_policy(recipe),
        color_jitter=recipe.color_jitter,
        lighting=recipe.lighting,
        erasing=recipe.erasing,
        fill=preprocessing.mean,
        mixing=_mixing(recipe, len(dataset.labels)),
        repeats=recipe.repeats,
    )
    return TrainingData(
        dataset.splits["train"],
        preprocessing.channels,
        augmentation,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
    )


def with_decoded_images(
    data: TrainingData, recipe: Recipe, crop: float
) -> tuple[TrainingData, tuple[str, ...]]:
    """Returns training data with decoded copies if the recipe asks for them, and notes.

    Args:
        data: The training data; pixels in memory stay as they are.
        recipe: The hyperparameters.
        crop: Fraction of the image's sides that evaluation uses. By default, this part
            of a copy has the size of the largest training images.
    """
    if recipe.cache != "decoded" or data.split.kind == "pixels":
        return data, ()
    height, width = data.augmentation.sizes[-1]
    scale = recipe.cache_side / min(height, width) if recipe.cache_side else 1 / crop
    least = (round(scale * height), round(scale * width))
    split, note = decode_once(data.split, least, data.channels)
    return replace(data, split=split), (note,)


def resolve_geometry(recipe: Recipe, dataset: Dataset) -> Geometry:
    """Returns the recipe's geometry, with ``"auto"`` resolved for this data set."""
    if recipe.augmentation != "auto":
        return recipe.augmentation
    return "pad_crop" if dataset.size else "area_crop"


def augmentation_names(recipe: Recipe) -> list[str]:
    """Returns the names of a recipe's augmentations beyond the crop."""
    policy = [] if recipe.policy == "none" else [recipe.policy]
    others = ("color_jitter", "lighting", "erasing", "mixup", "cutmix")
    return policy + [name for name in others if getattr(recipe, name)]


def _sizes(recipe: Recipe, size: Size) -> tuple[Size, ...]:
    """Returns the sizes of ``Augmentation`` for a model evaluated at ``size``."""
    if recipe.train_size:
        size = (recipe.train_size, recipe.train_size)
    height, width = size
    return tuple(
        (max(1, round(share * height)), max(1, round(share * width)))
        for share in (*recipe.progressive, 1.0)
    )


def _policy(recipe: Recipe) -> RandAugment | TrivialAugment | None:
    if recipe.policy == "none":
        return None
    ranges = POLICIES[recipe.policy]
    if recipe.policy == "trivial_wide":
        return TrivialAugment(ranges)
    return RandAugment(
        ranges,
        recipe.policy_count,
        recipe.policy_magnitude,
        recipe.policy_deviation,
        recipe.policy_probability,
    )


def _mixing(recipe: Recipe, classes: int) -> Mixing | None:
    if not (recipe.mixup or recipe.cutmix):
        return None
    return Mixing(recipe.mixup, recipe.cutmix, classes)


def _require_possible(recipe: Recipe, dataset: Dataset, size: Size) -> None:
    if recipe.pad is not None and recipe.pad > min(size):
        raise UsageError(
            f"pad must be at most the side of the images ({min(size)} pixels), got "
            f"{recipe.pad}"
        )
    if recipe.lighting and dataset.channels != 3:
        raise UsageError(
            f"lighting must be 0 unless images have 3 channels, got {recipe.lighting} "
            f"for {dataset.name} with {dataset.channels}"
        )
