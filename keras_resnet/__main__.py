"""Runs ``python -m keras_resnet list | describe | units | deviations``."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from keras_resnet import command

Name = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]


@dataclass(frozen=True)
class List:
    """Print the names of the networks."""

    pattern: Annotated[
        tyro.conf.Positional[str], tyro.conf.arg(metavar="[PATTERN]")
    ] = "*"
    """Shell-style pattern, e.g. 'resnet*_cifar'."""


@dataclass(frozen=True)
class Describe:
    """Print a network's feature-map sizes, parameters and multiply-accumulates."""

    name: Name
    """One of the names that `list` prints."""
    image_size: int | None = None
    """Side of the input in pixels; default: the paper's."""
    channels: int | None = None
    """Channels of the input; default: the paper's."""
    classes: int | None = None
    """Number of classes; default: the paper's."""
    figure: Path | None = None
    """Also draw the feature maps into this .svg or .png file."""


@dataclass(frozen=True)
class Units:
    """Draw residual units: the branch, the shortcut and their operations."""

    figure: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE")]
    """The .svg or .png file to write."""
    order: str = "original"
    """Order of activations, or `all` for one row per order."""
    skip: str = "all"
    """Kind of shortcut, or `all` for one column per kind."""
    unit: Literal["basic", "bottleneck"] = "basic"
    """Two 3×3 convolutions (basic), or 1×1, 3×3, 1×1 (bottleneck)."""


@dataclass(frozen=True)
class Deviations:
    """Print how a network differs from its paper, keras.applications, torchvision."""

    name: Name
    """One of the names that `list` prints."""


Command = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Describe, tyro.conf.subcommand("describe")]
    | Annotated[Units, tyro.conf.subcommand("units")]
    | Annotated[Deviations, tyro.conf.subcommand("deviations")]
)


def main() -> None:
    """Runs the command line."""
    options: List | Describe | Units | Deviations = command.parse(
        Command,  # type: ignore[arg-type]
        prog="python -m keras_resnet",
    )
    command.load_backend()
    from keras_resnet import catalogue, deviations

    if isinstance(options, List):
        print("\n".join(catalogue.list_models(options.pattern)))
    elif isinstance(options, Describe):
        print(_described(options))
    elif isinstance(options, Units):
        print(_units(options))
    else:
        print(deviations.report(options.name))


def _described(options: Describe) -> str:
    from keras_resnet import catalogue, describe, figures, models

    if options.figure is not None:
        figures.require_suffix(options.figure)
    given = (options.image_size, options.image_size, options.channels)
    default = catalogue.find_spec(options.name).input_shape
    height, width, channels = (
        old if new is None else new for new, old in zip(given, default, strict=True)
    )
    model = models.create_model(
        options.name, input_shape=(height, width, channels), classes=options.classes
    )
    if options.figure is not None:
        from keras_resnet.figures import walk

        figure, text = walk.draw(model)
        figures.write(figure, options.figure, title=options.name, text=text)
    return describe.describe(model)


def _units(options: Units) -> str:
    from keras_resnet import figures
    from keras_resnet.errors import require_choice
    from keras_resnet.families import branch, residual
    from keras_resnet.figures import units

    figures.require_suffix(options.figure)

    def chosen(field: str, table: Iterable[str]) -> list[str]:
        value = getattr(options, field)
        require_choice(field, value, [*table, "all"])
        return list(table) if value == "all" else [value]

    orders, skips = chosen("order", branch.ORDERS), chosen("skip", residual.SKIPS)
    figure, text = units.draw(orders, skips, options.unit)
    figures.write(figure, options.figure, title="Residual units", text=text)
    return text


if __name__ == "__main__":
    command.run(main)
