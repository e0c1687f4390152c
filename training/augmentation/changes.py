"""What a recipe does to training images, and at which size."""

import tensorflow as tf

from keras_resnet.errors import UsageError
from training.augmentation import augment
from training.augmentation.mixing import Mixing
from training.augmentation.policies import POLICIES, RandAugment, TrivialAugment
from training.data.datasets import Dataset
from training.data.images import Size, Tensor
from training.data.preprocessing import Preprocessing
from training.recipe import Recipe


def geometry(recipe: Recipe, dataset: Dataset) -> str:
    """The recipe's augmentation, ``"auto"`` resolved for this data set."""
    if recipe.augmentation != "auto":
        return recipe.augmentation
    return "pad_crop" if dataset.size else "area_crop"


def flips(recipe: Recipe, dataset: Dataset) -> bool:
    """Whether training images are mirrored."""
    return dataset.mirrors if recipe.flip == "auto" else recipe.flip == "on"


def training_size(recipe: Recipe, size: Size, epoch: int) -> Size:
    """Height and width of the images that an epoch trains on.

    Args:
        recipe: Its ``train_size`` and ``progressive``.
        size: Height and width that are evaluated at.
        epoch: Number of the epoch, from 0.
    """
    if recipe.train_size:
        size = (recipe.train_size, recipe.train_size)
    shares = (*recipe.progressive, 1.0)
    share = shares[epoch * len(shares) // recipe.epochs]
    return max(1, round(share * size[0])), max(1, round(share * size[1]))


def training_sizes(recipe: Recipe, size: Size) -> list[Size]:
    """All sizes that the run trains on, smallest first."""
    return sorted({training_size(recipe, size, e) for e in range(recipe.epochs)})


def require_possible(recipe: Recipe, dataset: Dataset, size: Size) -> None:
    """Raises UsageError where the data cannot be augmented as the recipe asks.

    Args:
        recipe: What is asked.
        dataset: The data.
        size: Height and width of the network's input.
    """
    if recipe.pad is not None and recipe.pad > min(size):
        raise UsageError(
            f"pad must be at most the side of the images ({min(size)} pixels), got "
            f"{recipe.pad}"
        )
    if recipe.lighting and dataset.channels != 3:
        raise UsageError(
            f"lighting must be 0 unless images have 3 channels, got {recipe.lighting} "
            f"and {dataset.channels} in {dataset.name}"
        )


def require_size(recipe: Recipe, size: Size, least: int) -> None:
    """Raises UsageError where a size trained on is below the network's ``least``."""
    if min(size) < least:
        raise UsageError(
            f"images that {recipe.model} trains on must be at least {least} pixels "
            f"wide and high, got {size}; choose larger train_size or progressive"
        )


def appearance(
    recipe: Recipe, prepared: Preprocessing, image: Tensor, seed: Tensor
) -> Tensor:
    """Changes a cropped training image, uint8 ``(H, W, C)``, in all but its geometry.

    (The operations of a policy may move it.) What is uncovered or erased gets the data
    set's mean colour.
    """
    policy = recipe.policy
    if policy == "trivial_wide":
        image = TrivialAugment(POLICIES[policy])(image, _fill(prepared), seed + 4)
    elif policy != "none":
        random = RandAugment(
            POLICIES[policy],
            recipe.policy_count,
            recipe.policy_magnitude,
            recipe.policy_deviation,
            recipe.policy_probability,
        )
        image = random(image, _fill(prepared), seed + 4)
    if recipe.color_jitter:
        image = augment.color_jitter(image, recipe.color_jitter, seed + 5)
    if recipe.lighting:
        image = augment.lighting(image, recipe.lighting, seed + 6)
    if recipe.erasing:
        image = augment.erase(image, recipe.erasing, _fill(prepared), seed + 7)
    return image


def named(recipe: Recipe) -> list[str]:
    """The names of what a recipe does to images beyond the crop, for people to read."""
    policy = [] if recipe.policy == "none" else [recipe.policy]
    others = ("color_jitter", "lighting", "erasing", "mixup", "cutmix")
    return policy + [name for name in others if getattr(recipe, name)]


def mixed(
    batches: tf.data.Dataset,
    mixing: Mixing,
    seed: Tensor,
    first_step: int,
    at_once: int,
) -> tf.data.Dataset:
    """Mixes the images of each batch with each other.

    Args:
        batches: Of images and class numbers, from step ``first_step`` of an epoch on.
        mixing: How.
        seed: Of the epoch, int32 ``(2,)``.
        first_step: Number of the first batch.
        at_once: Batches that are mixed at the same time.
    """
    fold = tf.random.experimental.stateless_fold_in

    def mix(step: Tensor, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        # Minus one sets it apart from the seeds of the images, folded by their index.
        return mixing(*batch, seed=fold(fold(seed, -1), step))

    return batches.enumerate(first_step).map(
        mix, num_parallel_calls=at_once, deterministic=True
    )


def _fill(prepared: Preprocessing) -> Tensor:
    return tf.constant(prepared.mean, tf.float32)
