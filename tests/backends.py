"""Prints the logits of one small network per family on the Keras backend of now.

``KERAS_BACKEND=jax python tests/backends.py``: JSON of name and logits. Weights are
drawn from each weight's name, so that all backends have the same.
"""

import json
import sys
import zlib
from functools import partial
from typing import Any

import numpy as np

MODULE = (8, 4, 12, 2, 6, 10)  # channels of an Inception module's convolutions
SMALL: dict[str, Any] = {"input_shape": (32, 32, 3), "classes": 5}
NETWORKS: dict[str, dict[str, Any]] = {
    "lenet5": {"input_shape": (32, 32, 3)},
    "alexnet": {"input_shape": (63, 63, 3), "hidden": 16},
    "vgg11_bn": {"hidden": 16, "widths": (8, 8, 16, 16, 32)},
    "googlenet": {
        "widths": (8, 8, 16),
        "stages": ((MODULE,), (MODULE,)),
        "auxiliary_at": ("inception3a", "inception4a"),
    },
    "highway20_cifar": {"depths": (2, 2)},
    "plain20_cifar": {"depths": (1, 1)},
    "resnet18": {"depths": (1, 1)},
    "resnet20_cifar": {"depths": (1, 1), "skip": "exclusive_gating"},
    "resnet50_v2": {"depths": (2, 1), "width": 8},
    "resnet110_sd_cifar": {"depths": (1, 1)},
    "resnext50_32x4d": {"depths": (1, 1), "cardinality": 8},
    "densenet121": {"depths": (2, 2)},
}


def logits(name: str, options: dict[str, Any]) -> list[list[float]]:
    import keras

    from keras_resnet import create_model
    from keras_resnet.weights.assign import weights_of

    model = create_model(name, **{**SMALL, **options})
    for path, variable in weights_of(model).items():
        rng = np.random.default_rng(zlib.crc32(path.encode()))
        spread = rng.uniform(0.5, 1.0, variable.shape).astype("float32")
        if len(variable.shape) > 1:
            signs = rng.choice([-1.0, 1.0], variable.shape)
            spread = spread * signs / np.sqrt(np.prod(variable.shape[:-1]))
        variable.assign(spread)
    side = model.input_shape[1]
    y, x = np.mgrid[:side, :side] / 5
    image = np.stack([np.sin(x + c) * np.cos(y * c) for c in range(3)], -1)
    images = np.stack([image, image[::-1] * 2]).astype("float32")
    forward = partial(model, training=False)
    if keras.backend.backend() == "jax":  # which compiles every operation otherwise
        from jax import jit

        forward = jit(forward)
    return keras.ops.convert_to_numpy(forward(images)).tolist()


def main() -> None:
    import keras

    def zeros(_: object, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        return keras.ops.zeros(shape, dtype or "float32")

    # All weights are replaced; JAX would compile the draws of the first for each shape.
    keras.initializers.VarianceScaling.__call__ = zeros
    found = {name: logits(name, options) for name, options in NETWORKS.items()}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
