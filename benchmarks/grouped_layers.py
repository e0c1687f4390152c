"""Measures each path of ResNeXt-50's grouped convolutions, forward and backward.

    python benchmarks/grouped_layers.py
    python benchmarks/grouped_layers.py --precision bfloat16 --keras

The paths take turns in one process; the best time of several rounds is printed in ms.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import tyro
from machine import describe

LAYERS = ((56, 128, 1), (56, 256, 2), (28, 256, 1), (28, 512, 2))
LAYERS += ((14, 512, 1), (14, 1024, 2), (7, 1024, 1))  # side, channels, stride
GROUPS = 32


@dataclass(frozen=True)
class Options:
    """Measure grouped convolutions."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the layers."""
    batch: int = 8
    """Images per batch."""
    rounds: int = 7
    """Number of rounds, of which the best counts."""
    keras: bool = False
    """Also measure Keras' own layer, which takes seconds."""


def training(layer: Any, images: Any) -> Callable[[], object]:
    """Returns a function that computes a layer's output and gradients."""
    import tensorflow as tf

    def compute() -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            y = layer(images)
        kernel = layer.kernel.value
        found = [y, *tape.gradient(y, [images, kernel], output_gradients=y)]
        # Only one number of each is returned, so that copying takes no time.
        return tf.add_n([tf.cast(tf.reshape(v, [-1])[0], tf.float32) for v in found])

    compiled = tf.function(compute)
    return lambda: compiled().numpy()


def measure(layer: tuple[int, int, int], options: Options) -> dict[str, float]:
    """Returns the best time of each path in seconds."""
    import keras
    import tensorflow as tf

    from keras_resnet.layers.grouped_conv import PATHS, GroupedConv2D

    side, channels, stride = layer
    half = options.precision == "bfloat16"
    settings: dict[str, Any] = {
        "strides": stride,
        "padding": "same",
        "groups": GROUPS,
        "use_bias": False,
        "dtype": "mixed_bfloat16" if half else "float32",
    }
    images = tf.random.normal((options.batch, side, side, channels))
    images = tf.cast(images, options.precision)
    steps = {}
    for path in PATHS:
        ours = GroupedConv2D(channels, 3, **settings)
        ours.path = path
        steps[path] = training(ours, images)
    if options.keras:
        steps["Keras"] = training(keras.layers.Conv2D(channels, 3, **settings), images)
    best = dict.fromkeys(steps, float("inf"))
    for turn in range(options.rounds + 1):  # the first round traces
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if turn:
                best[name] = min(best[name], time.perf_counter() - began)
    return best


def main() -> None:
    """Runs the command line."""
    from keras_resnet import command

    options = tyro.cli(Options)
    command.load_backend("tensorflow")
    print(describe())
    print(f"{GROUPS} groups, 3×3, {options.precision}, batch {options.batch}: ms")
    for side, channels, stride in LAYERS:
        best = measure((side, channels, stride), options)
        times = "  ".join(f"{name} {1e3 * s:.1f}" for name, s in best.items())
        print(f"  {side}×{side}, {channels} channels, stride {stride}:  {times}")


if __name__ == "__main__":
    main()
