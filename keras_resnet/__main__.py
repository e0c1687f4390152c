"""``python -m keras_resnet list | describe NAME``."""

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


Command = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Describe, tyro.conf.subcommand("describe")]
)


def main() -> None:
    """Runs the command line."""
    options: List | Describe = command.parse(
        Command,  # type: ignore[arg-type]
        prog="python -m keras_resnet",
    )
    command.start_backend(tensorflow=False)
    from keras_resnet import describe, models

    if isinstance(options, List):
        print("\n".join(models.list_models(options.pattern)))
        return
    asked = (options.image_size, options.image_size, options.channels)
    usual = models.find_spec(options.name).input_shape
    height, width, channels = (
        own if side is None else side for side, own in zip(asked, usual, strict=True)
    )
    model = models.create_model(
        options.name, input_shape=(height, width, channels), classes=options.classes
    )
    print(describe.describe(model))


if __name__ == "__main__":
    command.run(main)
