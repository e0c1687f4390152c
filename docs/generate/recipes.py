"""Prints the recipe table of docs/recipes.md: sources, results and costs.

``python docs/generate/recipes.py`` prints the table; with ``--figure FILE`` it draws
the learning rates instead.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_resnet import command
from training.recipes.catalogue import RECIPES
from training.recipes.recipe import Recipe

IMAGES = {"tfds:cifar10": 50_000, "tfds:imagenet2012": 1_281_167, "digits": 1_437}


@dataclass(frozen=True)
class Published:
    """Published values for a recipe.

    Attributes:
        source: Author, year and section.
        result: Top-1 accuracy on the test (ImageNet: validation) images, in percent.
        macs: Multiply-accumulates per image, counted as in docs/architectures.md, at
            the training size; for stochastic depth, the expected number.
    """

    source: str
    result: str
    macs: float


_CIFAR = "He et al., CVPR 2016, section 4.2"
_V2 = "He et al., ECCV 2016, appendix"
_NEXT = "Xie et al., 2017, section 5.3"
_DENSE = "Huang et al., CVPR 2017, section 4.2, table 2"
_SD = "Huang et al., ECCV 2016, section 4"
_RSB = "Wightman et al., 2021, table 2"

PUBLISHED = {
    "default": Published("this project", "", 2.5e6),
    "digits": Published("this project", "98.6 `resnet20_cifar`, measured", 2.5e6),
    "resnet_cifar": Published(
        _CIFAR, "91.25 `resnet20_cifar`, 93.03 `resnet56_cifar`", 40.6e6
    ),
    "resnet110_cifar": Published(_CIFAR, "93.57 (best), 93.39 (mean of 5)", 253e6),
    "preactivation_cifar": Published(
        _V2, "94.54 `resnet164_v2_cifar`, 95.08 `resnet1001_v2_cifar`", 244.5e6
    ),
    "resnext29_cifar": Published(
        _NEXT, "96.35 `resnext29_8x64d_cifar`, 96.42 `resnext29_16x64d_cifar`", 5.4e9
    ),
    "densenet_cifar": Published(_DENSE, "94.76 `densenet40_k12_cifar`", 264.8e6),
    "densenet_bc_cifar": Published(_DENSE, "95.49 `densenetbc100_k12_cifar`", 287.9e6),
    "stochastic_depth_cifar": Published(_SD, "94.75 `resnet110_sd_cifar`", 190e6),
    "stochastic_depth1202_cifar": Published(_SD, "95.09 `resnet1202_sd_cifar`", 2.13e9),
    "fast_cifar": Published("in the spirit of Page, 2018–19", "", 31.7e6),
    "resnet_imagenet": Published(
        "He et al., CVPR 2016, section 3.4; fb.resnet.torch",
        "75.3 `resnet50`, one crop (authors' release)",
        3.86e9,
    ),
    "torchvision_new": Published(
        "Vryniotis, PyTorch blog, 2021", "80.858 `resnet50_v1_5`", 2.52e9
    ),
    "rsb_a2": Published(_RSB, "79.8 `resnet50_v1_5`", 4.09e9),
    "rsb_a3": Published(_RSB, "78.1 `resnet50_v1_5`", 2.09e9),
}


HEAD = """| recipe | source | top-1 in % | epochs × batch | 10¹⁵ MACs |
|---|---|---|---|---|"""


def table() -> str:
    """Returns the recipes as a Markdown table.

    The cost is three times the forward pass for every image of every epoch.
    """
    return "\n".join([HEAD, *(_row(name, recipe) for name, recipe in RECIPES.items())])


def _row(name: str, recipe: Recipe) -> str:
    published = PUBLISHED[name]
    cost = 3 * published.macs * recipe.epochs * IMAGES[recipe.dataset] / 1e15
    length = f"{recipe.epochs} × {recipe.batch_size:,}"
    cells = (
        f"`{name}`",
        published.source,
        published.result,
        length,
        f"{cost:,.0f}" if cost >= 10 else f"{cost:.1g}",
    )
    return f"| {' | '.join(cells)} |"


def draw(path: Path) -> None:
    """Draws every recipe's learning rate over its epochs."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure((11, 11), layout="constrained")
    axes = figure.subplots(-(-len(RECIPES) // 3), 3).flat
    for name, recipe in RECIPES.items():
        _curve(next(axes), name, recipe)
    for rest in axes:
        rest.set_axis_off()
    figure.supxlabel("epoch")
    figure.supylabel("learning rate")
    # Text stays text; without date and random names, every run writes the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "recipes"}):
        dated = path.suffix == ".svg"
        figure.savefig(path, metadata={"Date": None} if dated else None)


def _curve(axis: Any, name: str, recipe: Recipe) -> None:
    import numpy as np

    from training.experiment.optimisation import learning_rate

    per_epoch = -(-IMAGES[recipe.dataset] // recipe.batch_size)
    rate = learning_rate(recipe, per_epoch)
    steps = np.linspace(0, recipe.epochs * per_epoch, 300)
    values = [float(rate(step)) for step in steps]
    axis.plot(steps / per_epoch, values)
    if recipe.schedule == "step":
        axis.set_yscale("log")
    axis.set_title(name, fontsize=10)
    axis.grid(alpha=0.3)


@dataclass(frozen=True)
class Options:
    """Print the table of the recipes, or draw their learning rates."""

    figure: Path | None = None
    """Draw to this .svg or .png file."""


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python docs/generate/recipes.py")
    if options.figure is None:
        print(table())
        return
    command.load_backend("tensorflow")
    draw(options.figure)


if __name__ == "__main__":
    command.run(main)
