"""Measures training of ResNeXt-50 32x4d: three forms and Keras' grouped convolution.

python benchmarks/resnext_forms.py
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from interleaved import Candidate, Step, measure, report, work
from machine import describe
from peers import keras_step


@dataclass(frozen=True)
class Options:
    """Measure training steps of ResNeXt-50's forms."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the networks."""
    batch: int = 8
    """Images per step."""
    rounds: int = 3
    """Timed steps per network."""


def ours(precision: str, batch: int, form: str) -> Step:
    from keras_resnet import create_model

    return keras_step(
        lambda: create_model("resnext50_32x4d", form=form), precision, batch
    )


def keras_groups(precision: str, batch: int) -> Step:
    """Returns a step of form C with Keras' own layer instead of ours."""
    import keras

    import keras_resnet.families.ops
    from keras_resnet import create_model

    keras_resnet.families.ops.GroupedConv2D = keras.layers.Conv2D
    return keras_step(lambda: create_model("resnext50_32x4d"), precision, batch)


CONTENDERS = {
    **{
        form: Candidate(f"form {form}", partial(ours, form=form))
        for form in ("A", "B", "C")
    },
    "keras": Candidate("keras.layers.Conv2D(groups=32)", keras_groups),
}


def main() -> None:
    """Runs the command line."""
    import tyro

    options = tyro.cli(Options)
    print(describe())
    arguments = (options.precision, options.batch)
    results = measure(__file__, CONTENDERS, arguments, rounds=options.rounds, warmup=1)
    title = f"training ResNeXt-50, batch {options.batch}, {options.precision}"
    ratios = (("C", "keras"), ("C", "A"), ("C", "B"))
    report(title, options.batch, CONTENDERS, results, ratios)


if __name__ == "__main__" and not work(CONTENDERS):
    main()
