"""DenseNet: golden counts, the shapes of table 1, one layer in NumPy."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from unallocated import counts

from keras_resnet import create_model
from keras_resnet.errors import UsageError
from keras_resnet.families.densenet import DENSENETS, DenseNetSpec
from keras_resnet.families.ops import BN_EPSILON

TORCHVISION = "torchvision.models.densenet, num_params and _ops of the weights"
PAPER = "Huang et al., 2017, table 2, by count() below"
GOLDEN = {  # parameters, multiply-accumulates, source
    "densenet121": (7_978_856, 2_834_161_664, TORCHVISION),
    "densenet161": (28_681_000, 7_727_907_072, TORCHVISION),
    "densenet169": (14_149_480, 3_359_843_328, TORCHVISION),
    "densenet201": (20_013_928, 4_291_365_888, TORCHVISION),
    "densenet40_k12_cifar": (1_019_722, 264_812_928, f"{PAPER}: 1.0M"),
    "densenet100_k12_cifar": (6_979_642, 1_769_516_448, f"{PAPER}: 7.0M"),
    "densenet100_k24_cifar": (27_249_082, 6_889_347_744, f"{PAPER}: 27.2M"),
    "densenetbc100_k12_cifar": (769_162, 287_929_692, f"{PAPER}: 0.8M"),
    "densenetbc190_k40_cifar": (25_624_430, 9_301_945_740, f"{PAPER}: 25.6M"),
    "densenetbc250_k24_cifar": (15_324_406, 5_418_785_724, f"{PAPER}: 15.3M"),
}
PRINTED = {  # table 2, 10⁶ parameters
    "densenet40_k12_cifar": 1.0,
    "densenet100_k12_cifar": 7.0,
    "densenet100_k24_cifar": 27.2,
    "densenetbc100_k12_cifar": 0.8,
    "densenetbc190_k40_cifar": 25.6,
    "densenetbc250_k24_cifar": 15.3,
}
ROWS: dict[str, tuple[tuple[int, ...], int, bool]] = {  # depths, k, bottleneck
    "densenet121": ((6, 12, 24, 16), 32, True),
    "densenet161": ((6, 12, 36, 24), 48, True),
    "densenet169": ((6, 12, 32, 32), 32, True),
    "densenet201": ((6, 12, 48, 32), 32, True),
    "densenet40_k12_cifar": ((12,) * 3, 12, False),
    "densenet100_k12_cifar": ((32,) * 3, 12, False),
    "densenet100_k24_cifar": ((32,) * 3, 24, False),
    "densenetbc100_k12_cifar": ((16,) * 3, 12, True),
    "densenetbc190_k40_cifar": ((31,) * 3, 40, True),
    "densenetbc250_k24_cifar": ((41,) * 3, 24, True),
}


def count(name: str) -> tuple[int, int]:
    """Parameters and multiply-accumulates by the paper's description alone."""
    depths, k, bottleneck = ROWS[name]
    imagenet = "_cifar" not in name
    channels = 2 * k if bottleneck else 16
    side, kernels, normalised = (56, [(147 * channels, 112)], channels)
    if not imagenet:
        side, kernels, normalised = (32, [(27 * channels, 32)], 0)
    for stage, depth in enumerate(depths):
        for _ in range(depth):
            inner = 4 * k if bottleneck else channels
            normalised += channels + inner * bottleneck
            kernels += bottleneck * [(channels * inner, side)]
            kernels.append((9 * inner * k, side))
            channels += k
        if stage < len(depths) - 1:
            kept = channels // 2 if bottleneck else channels
            normalised += channels
            kernels.append((channels * kept, side))
            channels, side = kept, side // 2
    normalised += channels
    classes = 1000 if imagenet else 10
    head = channels * classes
    params = sum(weights for weights, _ in kernels) + 2 * normalised + head + classes
    return params, sum(weights * at * at for weights, at in kernels) + head


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_counts_follow_from_the_paper(name: str) -> None:
    assert count(name) == GOLDEN[name][:2], GOLDEN[name][2]


@pytest.mark.parametrize("name", PRINTED)
def test_golden_counts_are_those_printed(name: str) -> None:
    assert round(GOLDEN[name][0] / 1e6, 1) == PRINTED[name]


def test_every_row_has_golden_counts() -> None:
    assert set(GOLDEN) == set(DENSENETS) == set(ROWS)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n == "densenet40_k12_cifar" else pytest.mark.slow)
        for n in GOLDEN
    ],
)
def test_counts_are_golden(name: str) -> None:
    assert counts(name) == GOLDEN[name][:2]


def test_sizes_of_table_1() -> None:
    model = create_model("densenet121", depths=(2, 2, 2, 2))
    shapes = {layer.name: layer.output.shape[1:] for layer in model.layers}
    assert shapes["stem_conv"] == (112, 112, 64)
    assert shapes["stem_pool"] == (56, 56, 64)
    assert shapes["stage1_layer1_conv1"] == (56, 56, 128)
    assert shapes["stage1_layer1_conv2"] == (56, 56, 32)
    assert shapes["stage1_layer2_concat"] == (56, 56, 128)
    assert shapes["transition1_conv"] == (56, 56, 64)
    assert shapes["transition1_pool"] == (28, 28, 64)
    assert shapes["transition3_pool"][:2] == (7, 7)
    assert [x.name for x in model.layers][-4:] == [
        "final_norm",
        "final_relu",
        "pool",
        "logits",
    ]


SMALL: dict[str, Any] = {
    "depths": (1, 1),
    "growth_rate": 3,
    "stem_width": 4,
    "input_shape": (6, 6, 3),
    "classes": 2,
}


def outputs(model: keras.Model, *names: str) -> keras.Model:
    return keras.Model(model.input, [model.get_layer(name).output for name in names])


def norm_relu(model: keras.Model, name: str, x: np.ndarray) -> np.ndarray:
    gamma, beta, mean, variance = model.get_layer(name).get_weights()
    return np.maximum(gamma * (x - mean) / np.sqrt(variance + BN_EPSILON) + beta, 0)


def convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    pad = len(kernel) // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], (1, 2))
    return np.einsum("nhwcij,ijcf->nhwf", windows, kernel)


@pytest.mark.parametrize("bottleneck", [0, 4])
def test_layer_and_transition_equal_numpy(
    bottleneck: int, enliven: Callable[[keras.Model], keras.Model]
) -> None:
    model = enliven(
        create_model("densenetbc100_k12_cifar", bottleneck=bottleneck, **SMALL)
    )
    image = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    names = ("stem_conv", "stage1_layer1_concat", "transition1_pool")
    x, dense, pooled = map(np.asarray, outputs(model, *names)(image, training=False))
    y = x
    for i in (1, 2) if bottleneck else (1,):
        y = norm_relu(model, f"stage1_layer1_norm{i}", y)
        y = convolve(y, np.asarray(model.get_layer(f"stage1_layer1_conv{i}").kernel))
    np.testing.assert_allclose(dense, np.concatenate([x, y], -1), rtol=1e-4, atol=1e-5)
    t = norm_relu(model, "transition1_norm", dense)
    t = convolve(t, np.asarray(model.get_layer("transition1_conv").kernel))
    assert t.shape[-1] == 3  # half of 7, rounded down
    t = t.reshape(2, 3, 2, 3, 2, 3).mean((2, 4))
    np.testing.assert_allclose(pooled, t, rtol=1e-4, atol=1e-5)


def test_any_size_and_number_of_channels() -> None:
    fixed = create_model(
        "densenetbc100_k12_cifar", **{**SMALL, "input_shape": (7, 5, 1)}
    )
    free = create_model(
        "densenetbc100_k12_cifar", **{**SMALL, "input_shape": (None, None, 1)}
    )
    free.set_weights(fixed.get_weights())
    x = np.ones((2, 7, 5, 1), "float32")
    np.testing.assert_allclose(free(x), fixed(x), rtol=1e-5, atol=1e-6)


def test_dropout_follows_every_convolution_but_the_first() -> None:
    model = create_model("densenetbc100_k12_cifar", dropout=0.2, **SMALL)
    drops = [x.name for x in model.layers if isinstance(x, keras.layers.Dropout)]
    assert drops == [
        "stage1_layer1_dropout1",
        "stage1_layer1_dropout2",
        "transition1_dropout",
        "stage2_layer1_dropout1",
        "stage2_layer1_dropout2",
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depths": ()}, "depths must be one positive layer count per stage"),
        ({"growth_rate": 0}, "growth_rate must be at least 1, got 0"),
        ({"bottleneck": -1}, "bottleneck must be at least 0, got -1"),
        ({"compression": 0.0}, "compression must be greater than 0 and at most 1"),
        ({"compression": 1.5}, "compression must be .*, got 1.5"),
        ({"stem": "wide"}, "stem must be one of imagenet, cifar, got 'wide'"),
        ({"dropout": 1.0}, "dropout must be .* got 1.0"),
    ],
)
def test_impossible_spec_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DenseNetSpec(**{"depths": (1,), **fields})
