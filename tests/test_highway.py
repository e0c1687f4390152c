"""Highway networks: golden counts, the gated layer in NumPy, plain layers."""

import keras
import numpy as np
import pytest
from unallocated import counts, unallocated

from keras_resnet import create_model
from keras_resnet.catalogue import build_model
from keras_resnet.errors import UsageError
from keras_resnet.families.highway import HIGHWAYS, HighwaySpec
from keras_resnet.families.ops import BN_EPSILON


def count(depth: int) -> tuple[int, int]:
    """The plain network of ``depth`` layers, and a gate on every layer but two."""
    layers = (depth - 2) // 3
    params, macs = 27 * 16 + 2 * 16 + 64 * 10 + 10, 27 * 16 * 32**2 + 64 * 10
    channels = 16
    for stage, side in enumerate((32, 16, 8)):
        width = 16 * 2**stage
        for layer in range(layers):
            kernel = 9 * channels * width
            gated = stage == 0 or layer > 0
            params += kernel + 2 * width + gated * (kernel + width)
            macs += kernel * side**2 * (1 + gated)
            channels = width
    return params, macs


@pytest.mark.parametrize(
    "depth", [20, *(pytest.param(n, marks=pytest.mark.slow) for n in (32, 56, 110))]
)
def test_counts(depth: int) -> None:
    assert counts(f"highway{depth}_cifar") == count(depth)


def test_rows() -> None:
    for name, spec in HIGHWAYS.items():
        assert name == f"highway{sum(spec.depths) + 2}_cifar"


def test_layer_equals_numpy() -> None:
    """y = T(x)·H(x) + (1 − T(x))·x; Srivastava et al., 2015, eq. 3."""
    model = create_model("highway20_cifar", depths=(1,), input_shape=(1, 1, 3), width=4)
    norm = model.get_layer("stage1_block1_norm1")
    rng = np.random.default_rng(0)
    norm.set_weights([rng.uniform(0.5, 1.5, 4) for _ in range(4)])
    parts = {
        name: keras.Model(model.input, model.get_layer(name).output)
        for name in ("stem_relu", "stage1_block1_add")
    }
    image = rng.normal(size=(6, 1, 1, 3)).astype("float32")
    x = np.asarray(parts["stem_relu"](image))[:, 0, 0]
    # Of a 3×3 kernel only the middle meets an image of one pixel.
    kernel = np.asarray(model.get_layer("stage1_block1_conv1").kernel)[1, 1]
    gate_kernel, gate_bias = model.get_layer("stage1_block1_gate").get_weights()
    gamma, beta, mean, variance = norm.get_weights()
    h = gamma * (x @ kernel - mean) / np.sqrt(variance + BN_EPSILON) + beta
    t = 1 / (1 + np.exp(-(x @ gate_kernel[1, 1] + gate_bias)))
    expected = t * np.maximum(h, 0) + (1 - t) * x
    y = np.asarray(parts["stage1_block1_add"](image))[:, 0, 0]
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(gate_bias, [-2.0] * 4)


def test_a_layer_that_changes_the_shape_is_plain() -> None:
    with unallocated():
        model = build_model("highway20_cifar")
    names = {layer.name for layer in model.layers}
    gated = {name.removesuffix("_gate") for name in names if name.endswith("_gate")}
    blocks = {f"stage{s}_block{b}" for s in (1, 2, 3) for b in range(1, 7)}
    assert gated == blocks - {"stage2_block1", "stage3_block1"}
    assert model.get_layer("stage2_block1_conv1").strides == (2, 2)


def test_gate_bias_is_a_field() -> None:
    model = create_model("highway20_cifar", depths=(1,), gate_bias=-4)
    assert set(model.get_layer("stage1_block1_gate").bias.numpy()) == {-4.0}


@pytest.mark.parametrize("fields", [{"depths": ()}, {"depths": (1,), "width": 0}])
def test_impossible_spec_is_refused(fields: dict) -> None:
    with pytest.raises(UsageError, match=r"must be"):
        HighwaySpec(**fields)
