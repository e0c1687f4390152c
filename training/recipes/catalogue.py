"""Defines the recipes of the papers, and reads recipes from JSON files.

References:
    [1] He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
    [2] He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016.
    [3] Xie et al., "Aggregated Residual Transformations for Deep Neural Networks",
        CVPR 2017.
    [4] Huang et al., "Densely Connected Convolutional Networks", CVPR 2017.
    [5] Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016.
    [6] Page, "How to Train Your ResNet", 2018–19.
    [7] Vryniotis, "How to Train State-Of-The-Art Models Using TorchVision's Latest
        Primitives", 2021.
    [8] Wightman et al., "ResNet strikes back", 2021.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_resnet.errors import UsageError, suggest
from training.recipes.recipe import Recipe, as_trained

__all__ = ["RECIPES", "Recipe", "load_recipe"]

_CIFAR = Recipe(
    dataset="tfds:cifar10",
    schedule="step",
    warmup_epochs=0.0,
    nesterov=False,
    weight_decay=1e-4,
    decay="all",
    augmentation="pad_crop",
    pad=4,
    flip="on",
)
_DENSENET = replace(_CIFAR, epochs=300, batch_size=64, nesterov=True)
_IMAGENET = Recipe(dataset="tfds:imagenet2012", image_size=224, flip="on")
_RSB: dict[str, Any] = {
    "batch_size": 2048,
    "optimizer": "lamb",
    "warmup_epochs": 5.0,
    "weight_decay": 0.02,
    "clip_norm": 1.0,
    "loss": "bce",
    "bce_threshold": 0.2,
    "augmentation": "area_crop",
    "policy": "randaugment_timm",
    "policy_deviation": 0.5,
    "policy_probability": 0.5,
    "mixup": 0.1,
    "cutmix": 1.0,
    "eval_crop": 0.95,
}
_LOW_FIRST: dict[str, Any] = {"warmup": "constant", "warmup_from": 0.1}

RECIPES = {
    "default": Recipe(),
    # scikit-learn's digits: 8×8, 1,437 training images.
    "digits": Recipe(epochs=40),
    # [1] section 4.2: 64k steps, learning rate divided by 10 at 32k and 48k.
    "resnet_cifar": replace(_CIFAR, epochs=164),
    # [1] section 4.2: 0.01 until the training error is below 80 %, "about 400
    # iterations".
    "resnet110_cifar": replace(
        _CIFAR, model="resnet110_cifar", epochs=164, warmup_steps=400, **_LOW_FIRST
    ),
    # [2] appendix: as in [1], with the same 400 steps at 0.01 first.
    "preactivation_cifar": replace(
        _CIFAR, model="resnet164_v2_cifar", epochs=164, warmup_steps=400, **_LOW_FIRST
    ),
    # [3] appendix A: 300 epochs, learning rate divided by 10 at 150 and 225. Nesterov
    # momentum and zero padding of the crops come from the authors' code.
    "resnext29_cifar": replace(
        _CIFAR,
        model="resnext29_8x64d_cifar",
        epochs=300,
        nesterov=True,
        weight_decay=5e-4,
    ),
    # [4] section 4.2: batch 64, 300 epochs, rate divided by 10 at 50 % and 75 %.
    "densenet_cifar": replace(_DENSENET, model="densenet40_k12_cifar"),
    # The same with bottlenecks and compression.
    "densenet_bc_cifar": replace(_DENSENET, model="densenetbc100_k12_cifar"),
    # [5] section 4: 500 epochs, rate divided by 10 at 250 and 375; 5,000 validation
    # images.
    "stochastic_depth_cifar": replace(
        _CIFAR,
        model="resnet110_sd_cifar",
        epochs=500,
        nesterov=True,
        validation=0.1,
    ),
    # [5] section 4: 300 epochs, 0.01 for the first 10, rate divided by 10 at 150, 225.
    "stochastic_depth1202_cifar": replace(
        _CIFAR,
        model="resnet1202_sd_cifar",
        epochs=300,
        nesterov=True,
        validation=0.1,
        warmup_epochs=10.0,
        **_LOW_FIRST,
    ),
    # [6]: a short one-cycle run, weight decay 5e-4. Page uses a shallow, wide network
    # and cutout; on two cores, ResNet-20 without cutout reached more on Fashion-MNIST
    # (docs/performance.md).
    "fast_cifar": Recipe(
        dataset="tfds:cifar10",
        epochs=20,
        learning_rate=0.2,
        schedule="one_cycle",
        peak_at=0.25,
        augmentation="pad_crop",
        flip="on",
        progressive=(0.75,),
    ),
    # [1] section 3.4: batch 256, shorter side in [256, 480], 224 crops, "standard color
    # augmentation"; 90 epochs as in fb.resnet.torch.
    "resnet_imagenet": replace(
        _IMAGENET,
        model="resnet50",
        epochs=90,
        batch_size=256,
        schedule="step",
        milestones=(1 / 3, 2 / 3),
        warmup_epochs=0.0,
        nesterov=False,
        weight_decay=1e-4,
        decay="all",
        augmentation="scale_crop",
        lighting=0.1,
    ),
    # [7] and torchvision's reference scripts, which update the average every 32 steps
    # with 1 − 2e-5·1024·32/600 (the value here is for one step) and fill uncovered
    # pixels with black.
    "torchvision_new": replace(
        _IMAGENET,
        model="resnet50_v1_5",
        epochs=600,
        batch_size=1024,
        learning_rate=0.5,
        warmup_epochs=5.0,
        warmup_from=0.01,
        nesterov=False,
        weight_decay=2e-5,
        ema=0.999966,
        label_smoothing=0.1,
        augmentation="area_crop",
        policy="trivial_wide",
        erasing=0.1,
        mixup=0.2,
        cutmix=1.0,
        repeats=4,
        train_size=176,
        eval_crop=224 / 232,
    ),
    # [8] table 2, columns A2 and A3; gradient norm 1 and target threshold 0.2 come from
    # timm. Not included: timm's zero initial value for the last γ of each branch, and
    # its random choice between bicubic and bilinear interpolation.
    "rsb_a2": replace(
        _IMAGENET,
        model="resnet50_v1_5",
        overrides=("survival=0.95", "drop_mode=sample"),
        epochs=300,
        learning_rate=5e-3,
        policy_magnitude=7.0,
        repeats=3,
        **_RSB,
    ),
    "rsb_a3": replace(
        _IMAGENET,
        model="resnet50_v1_5",
        epochs=100,
        learning_rate=8e-3,
        policy_magnitude=6.0,
        train_size=160,
        **_RSB,
    ),
}

RECIPE_HELP = (
    "Source of the other options' defaults: the name of a recipe "
    f"({', '.join(RECIPES)}), a JSON file of recipe fields, or a run's config.json."
)


def load_recipe(name: str) -> Recipe:
    """Returns the recipe called ``name``, or reads it from the JSON file ``name``.

    The file holds the fields of a recipe, or is the ``config.json`` of a run.

    Raises:
        UsageError: No such recipe or file exists, or the file is not a recipe.
    """
    if name in RECIPES:
        return RECIPES[name]
    path = Path(name)
    if not path.is_file():
        names, hint = ", ".join(RECIPES), suggest(name, RECIPES)
        said = f"recipe must be one of {names} or a JSON file, got {name!r}; {hint}"
        raise UsageError(said.strip("; "))
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"recipe {name} must be JSON, got {error}") from None
    if isinstance(values, dict):
        values = as_trained(values).get("recipe", values)
    if not isinstance(values, dict):
        raise UsageError(f"recipe {name} must be a JSON object, got {values!r:.60}")
    return Recipe.from_dict(values)
