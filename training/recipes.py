"""The papers' recipes by name, and recipes as JSON files."""

import json
from pathlib import Path

from keras_resnet.errors import UsageError
from training.recipe import Recipe

__all__ = ["RECIPES", "Recipe", "load_recipe", "save_recipe"]

RECIPES = {
    "default": Recipe(),
    # scikit-learn's digits, 8×8, 1,437 to train on: 0.98 or more in under two minutes
    # on two cores.
    "digits": Recipe(epochs=40),
    # He et al., "Deep Residual Learning", 2016, section 4.2: 64k steps on CIFAR-10,
    # a tenth at 32k and 48k. ResNet-20 91.25 %, ResNet-56 93.03 %, ResNet-110 93.57 %
    # (110: with a warm-up).
    "resnet_cifar": Recipe(
        dataset="tfds:cifar10",
        epochs=164,
        schedule="step",
        warmup_epochs=0.0,
        nesterov=False,
        weight_decay=1e-4,
        decay="all",
        augmentation="pad_crop",
        pad=4,
        flip="on",
    ),
    # Ibid., section 3.4: batch 256, shorter side in [256, 480], 224 crops. ResNet-50
    # 75.3 % with one crop (authors' release); 90 epochs as in fb.resnet.torch.
    "resnet_imagenet": Recipe(
        model="resnet50",
        dataset="tfds:imagenet2012",
        image_size=224,
        epochs=90,
        batch_size=256,
        schedule="step",
        milestones=(1 / 3, 2 / 3),
        warmup_epochs=0.0,
        nesterov=False,
        weight_decay=1e-4,
        decay="all",
        augmentation="scale_crop",
        flip="on",
    ),
}


def load_recipe(name: str) -> Recipe:
    """Returns the recipe called ``name``, or the one in the JSON file of that path.

    The file holds a recipe's fields, or is the ``config.json`` of a run.

    Raises:
        UsageError: There is neither, or the file is not a recipe.
    """
    if name in RECIPES:
        return RECIPES[name]
    path = Path(name)
    if not path.is_file():
        raise UsageError(
            f"recipe must be one of {', '.join(RECIPES)} or a JSON file, got {name!r}"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"recipe {name} must be JSON: {error}") from None
    if not isinstance(values, dict):
        raise UsageError(f"recipe {name} must be a JSON object, got {values!r:.60}")
    return Recipe.from_dict(values.get("recipe", values))


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Writes a recipe as JSON that ``load_recipe`` reads."""
    path.write_text(json.dumps(recipe.to_dict(), indent=2) + "\n", encoding="utf-8")
