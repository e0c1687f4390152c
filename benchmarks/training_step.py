"""Training ResNet-50 at 224 pixels: ours beside its peers, taking turns.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --torch-python OTHER_ENVIRONMENT/bin/python

Every network has the settings its users get.
"""

import os
import platform
from dataclasses import dataclass
from typing import Literal

from turns import (
    Contender,
    Step,
    keras_step,
    measure,
    report,
    torch_step,
    with_torchvision,
    work,
)


@dataclass(frozen=True)
class Options:
    """Measure training steps of ResNet-50 beside its peers'."""

    precisions: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    """Arithmetic of the networks."""
    batch: int = 16
    """Images a step."""
    rounds: int = 5
    """Steps of each network that count."""
    torch_python: str | None = None
    """A Python that has torch and torchvision; None: that peer is left out."""


def ours(precision: str, batch: int) -> Step:
    from keras_resnet import create_model

    return keras_step(lambda: create_model("resnet50"), precision, batch)


def ours_v1_5(precision: str, batch: int) -> Step:
    from keras_resnet import create_model

    return keras_step(lambda: create_model("resnet50_v1_5"), precision, batch)


def keras_applications(precision: str, batch: int) -> Step:
    import keras

    return keras_step(
        lambda: keras.applications.ResNet50(weights=None, classifier_activation=None),
        precision,
        batch,
    )


def torchvision(precision: str, batch: int) -> Step:
    from torchvision.models import resnet50

    return torch_step(resnet50(), precision, batch)


CONTENDERS = {
    "ours": Contender("keras-resnet resnet50, as training.fit sets it", ours),
    "keras": Contender(
        "keras.applications ResNet50, its defaults", keras_applications, None
    ),
    "keras_onednn": Contender(
        "keras.applications ResNet50, oneDNN on", keras_applications
    ),
    "ours_v1_5": Contender("keras-resnet resnet50_v1_5", ours_v1_5),
    "torchvision": Contender("torchvision resnet50, channels_last", torchvision, None),
}
RATIOS = (("ours", "keras"), ("ours", "keras_onednn"), ("ours_v1_5", "torchvision"))


def main() -> None:
    """Runs the command line."""
    import tyro

    options = tyro.cli(Options)
    contenders = with_torchvision(CONTENDERS, options.torch_python)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    for precision in options.precisions:
        arguments = (precision, options.batch)
        results = measure(__file__, contenders, arguments, rounds=options.rounds)
        title = f"training, 224×224, batch {options.batch}, {precision}"
        report(title, options.batch, contenders, results, RATIOS)


if __name__ == "__main__" and not work(CONTENDERS):
    main()
