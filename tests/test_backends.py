"""The networks on Keras' other backends give TensorFlow's numbers."""

import json
import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from backends import NETWORKS, logits

from keras_resnet import MODELS

SCRIPT = Path(__file__).with_name("backends.py")


@cache
def of_tensorflow(name: str) -> np.ndarray:
    return np.array(logits(name, NETWORKS[name]))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_logits_are_those_of_tensorflow(backend: str) -> None:
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = subprocess.run(
        [sys.executable, SCRIPT],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    for name in NETWORKS:
        ours = of_tensorflow(name)
        assert np.abs(ours[0] - ours[1]).max() > 1e-4, name  # it is alive
        np.testing.assert_allclose(
            theirs[name], ours, rtol=1e-4, atol=1e-4, err_msg=name
        )


def test_every_family_is_there() -> None:
    families = {type(spec) for spec in MODELS.values()}
    assert {type(MODELS[name]) for name in NETWORKS} == families
