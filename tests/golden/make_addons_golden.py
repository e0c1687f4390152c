"""Records what tensorflow-addons' StochasticDepth computes.

tensorflow-addons cannot be imported beside Keras 3; run this where it can::

    python3.11 -m venv addons
    addons/bin/pip install tensorflow-cpu==2.15.1 tensorflow-addons==0.23.0
    addons/bin/python tests/golden/make_addons_golden.py tests/golden/addons.json
"""

import json
import sys

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

DRAWS = 10_000


def record(survival: float) -> dict:
    rng = np.random.default_rng(0)
    shortcut, branch = rng.normal(size=(2, 2, 3, 3, 2)).astype("float32")
    layer = tfa.layers.StochasticDepth(survival)
    tf.random.set_seed(0)
    outcomes = {}
    while len(outcomes) < 2:
        h, f = tf.constant(shortcut), tf.constant(branch)
        with tf.GradientTape() as tape:
            tape.watch([h, f])
            y = layer([h, f], training=True)
            total = tf.reduce_sum(y**2)
        slopes = tape.gradient(total, [h, f])
        dropped = bool(np.array_equal(y, shortcut))
        outcomes["dropped" if dropped else "kept"] = {
            "output": y.numpy().tolist(),
            "gradients": [slope.numpy().tolist() for slope in slopes],
        }
    ones = tf.ones((1, 1))

    @tf.function
    def kept() -> tf.Tensor:
        return layer([tf.zeros((1, 1)), ones], training=True)

    return {
        "survival": survival,
        "shortcut": shortcut.tolist(),
        "branch": branch.tolist(),
        "inference": layer([shortcut, branch], training=False).numpy().tolist(),
        "training": outcomes,
        "rate": float(np.mean([kept().numpy() for _ in range(DRAWS)])),
    }


def main(path: str) -> None:
    golden = {
        "versions": {"tensorflow": tf.__version__, "addons": tfa.__version__},
        "draws": DRAWS,
        "cases": [record(survival) for survival in (0.2, 0.5, 0.9)],
    }
    with open(path, "w") as file:
        json.dump(golden, file)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
