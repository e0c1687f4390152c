"""``python -m keras_resnet list | describe NAME | deviations NAME | table``."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from keras_resnet import command


@dataclass(frozen=True)
class List:
    """Print the names of the networks."""

    pattern: tyro.conf.Positional[str] = "*"
    """Shell-style pattern, say 'resnet*_cifar'."""


@dataclass(frozen=True)
class Describe:
    """Print a network's walk of feature-map sizes, parameters, multiply-accumulates."""

    name: tyro.conf.Positional[str]
    """One of the names that `list` prints."""
    image_size: int | None = None
    """Side of the input in pixels; default: the paper's."""
    channels: int | None = None
    """Channels of the input; default: the paper's."""
    classes: int | None = None
    """Number of classes; default: the paper's."""


@dataclass(frozen=True)
class Deviations:
    """Print how a network differs from its paper, keras.applications, torchvision."""

    name: tyro.conf.Positional[str]
    """One of the names that `list` prints."""


@dataclass(frozen=True)
class Table:
    """Print docs/architectures.md: parameters and MACs of every network."""


Command = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Describe, tyro.conf.subcommand("describe")]
    | Annotated[Deviations, tyro.conf.subcommand("deviations")]
    | Annotated[Table, tyro.conf.subcommand("table")]
)


def main() -> None:
    """Runs the command line."""
    options: List | Describe | Deviations | Table = command.parse(
        Command,  # type: ignore[arg-type]
        prog="python -m keras_resnet",
    )
    command.start_backend(tensorflow=False)
    from keras_resnet import deviations, models, table

    if isinstance(options, List):
        print("\n".join(models.list_models(options.pattern)))
    elif isinstance(options, Describe):
        print(_described(options))
    elif isinstance(options, Deviations):
        print(deviations.report(options.name))
    else:
        print(table.architectures())


def _described(options: Describe) -> str:
    from keras_resnet import describe, models

    asked = (options.image_size, options.image_size, options.channels)
    usual = models.find_spec(options.name).input_shape
    height, width, channels = (
        own if side is None else side for side, own in zip(asked, usual, strict=True)
    )
    model = models.create_model(
        options.name, input_shape=(height, width, channels), classes=options.classes
    )
    return describe.describe(model)


if __name__ == "__main__":
    command.run(main)
