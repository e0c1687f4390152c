"""Measures time and memory of DenseNet-121 with and without memory_efficient.

    python benchmarks/densenet_memory.py
    python benchmarks/densenet_memory.py --torch-python OTHER_ENVIRONMENT/bin/python

Memory is the peak of the whole process, including libraries. ``ours_idle`` only builds
the network, so its memory is that of the libraries and the weights.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from interleaved import Candidate, Step, measure, report, work
from machine import describe
from peers import keras_applications, keras_step, torchvision, with_torchvision


@dataclass(frozen=True)
class Options:
    """Measure time and memory of DenseNet-121's training steps."""

    precisions: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    """Precision of the networks."""
    batch: int = 16
    """Images per step."""
    rounds: int = 5
    """Timed steps per network."""
    torch_python: str | None = None
    """Python interpreter with torch and torchvision; None: omit torchvision."""


def ours(precision: str, batch: int, efficient: bool) -> Step:
    from keras_resnet import create_model

    return keras_step(
        lambda: create_model("densenet121", memory_efficient=efficient),
        precision,
        batch,
    )


def ours_idle(precision: str, batch: int) -> Step:
    ours(precision, batch, False)
    return lambda: None


CONTENDERS = {
    "ours": Candidate("residual-keras densenet121", partial(ours, efficient=False)),
    "ours_efficient": Candidate(
        "residual-keras densenet121, memory_efficient", partial(ours, efficient=True)
    ),
    "ours_idle": Candidate("residual-keras densenet121, built only", ours_idle),
    "keras": Candidate(
        "keras.applications DenseNet121, its defaults",
        partial(keras_applications, name="DenseNet121"),
        None,
    ),
    "torchvision": Candidate(
        "torchvision densenet121, channels_last",
        partial(torchvision, name="densenet121"),
        None,
    ),
}
RATIOS = (("ours", "keras"), ("ours", "torchvision"), ("ours_efficient", "ours"))


def main() -> None:
    """Runs the command line."""
    import tyro

    options = tyro.cli(Options)
    contenders = with_torchvision(CONTENDERS, options.torch_python)
    print(describe())
    for precision in options.precisions:
        arguments = (precision, options.batch)
        results = measure(__file__, contenders, arguments, rounds=options.rounds)
        title = f"training, 224×224, batch {options.batch}, {precision}"
        idle = results.pop("ours_idle").memory
        report(title, options.batch, contenders, results, RATIOS)
        plain, efficient = (results[k].memory for k in ("ours", "ours_efficient"))
        print(
            f"  memory_efficient: {efficient / plain:.2f} of the process's memory, "
            f"{(efficient - idle) / (plain - idle):.2f} of the training step's"
        )


if __name__ == "__main__" and not work(CONTENDERS):
    main()
