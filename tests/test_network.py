"""Very deep networks at Python's default recursion limit."""

import subprocess
import sys
from pathlib import Path

import keras
import pytest

from keras_resnet import create_model
from keras_resnet.network import Network, deep_recursion

DEEP = """
import sys
from keras_resnet import command
command.load_backend("tensorflow")
import keras, numpy, keras_resnet
assert sys.getrecursionlimit() == 1000
limit = 70  # smaller than by default, so that a smaller network exceeds it
sys.setrecursionlimit(limit)
keras.utils.set_random_seed(0)
model = keras_resnet.create_model(
    "resnet1202_sd_cifar", depths=(12, 12, 12), input_shape=(8, 8, 3)
)
layers = model.layers
try:
    keras.Model(layers[0].output, layers[-1].output)
except RecursionError:
    pass
else:
    raise AssertionError("Keras can do it by itself: the test proves nothing")
x = numpy.ones((2, 8, 8, 3), "float32")
model.save(sys.argv[1])
y = model(x)
assert numpy.isfinite(y).all()
for load in (keras_resnet.load_model, keras.models.load_model):
    assert numpy.array_equal(load(sys.argv[1])(x), y)
keras.models.clone_model(model)
assert sys.getrecursionlimit() == limit
"""


@pytest.mark.slow
def test_network_is_deeper_than_the_recursion_limit(tmp_path: Path) -> None:
    path = str(tmp_path / "model.keras")
    subprocess.run([sys.executable, "-c", DEEP, path], check=True)


def test_limit_comes_back() -> None:
    before = sys.getrecursionlimit()
    with pytest.raises(KeyError), deep_recursion():
        assert sys.getrecursionlimit() > before
        raise KeyError
    assert sys.getrecursionlimit() == before


def test_network_is_an_ordinary_functional_model() -> None:
    model = create_model("resnet20_cifar", depths=(1,), input_shape=(4, 4, 3))
    assert type(model) is Network
    assert isinstance(model, keras.Model)
    inner = keras.Model(model.input, model.get_layer("stage1_block1_add").output)
    assert inner.output_shape == (None, 4, 4, 16)
    paths = {variable.path for variable in model.variables}
    assert "stage1_block1_conv1/kernel" in paths
    assert len(paths) == len(model.variables)
