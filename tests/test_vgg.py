"""VGG: golden counts, the walk of sizes, names, sizes that fit."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from unallocated import counts

from keras_resnet import UsageError, create_model, load_model
from keras_resnet.families.vgg import VGGS

# torchvision.models.vgg, num_params and _ops of the weights
GOLDEN = {
    "vgg11": (132_863_336, 7_609_090_048),
    "vgg11_bn": (132_868_840, 7_609_090_048),
    "vgg13": (133_047_848, 11_308_466_176),
    "vgg13_bn": (133_053_736, 11_308_466_176),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg16_bn": (138_365_992, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
    "vgg19_bn": (143_678_248, 19_632_062_464),
}
# Simonyan & Zisserman, 2015, table 1: the columns of 3×3 convolutions, A, B, D and E
TABLE_1 = {
    11: "64 M 128 M 256 256 M 512 512 M 512 512 M",
    13: "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    16: "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    19: "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}
SMALL: dict[str, Any] = {"widths": (4, 4, 6, 6, 8), "hidden": 6}


def count(name: str) -> tuple[int, int]:
    """Parameters and multiply-accumulates, by the paper's table alone."""
    normalised = name.endswith("_bn")
    params, macs, channels, side = 0, 0, 3, 224
    for cell in TABLE_1[int(name.removesuffix("_bn")[3:])].split():
        if cell == "M":
            side //= 2
            continue
        width = int(cell)
        kernel = 9 * channels * width
        params += kernel + width + 2 * width * normalised
        macs += kernel * side**2
        channels = width
    for inputs, units in ((7 * 7 * 512, 4096), (4096, 4096), (4096, 1000)):
        params += inputs * units + units
        macs += inputs * units
    return params, macs


@pytest.mark.parametrize("name", VGGS)
def test_golden_counts_follow_from_the_paper(name: str) -> None:
    assert count(name) == GOLDEN[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", VGGS)
def test_counts_are_golden(name: str) -> None:
    assert counts(name) == GOLDEN[name]


def test_every_network_has_golden_counts() -> None:
    assert set(GOLDEN) == set(VGGS)


@pytest.mark.parametrize(  # table 2, in millions
    ("name", "millions"),
    [("vgg11", 133), ("vgg13", 133), ("vgg16", 138), ("vgg19", 144)],
)
def test_golden_counts_are_the_papers(name: str, millions: int) -> None:
    assert round(GOLDEN[name][0] / 1e6) == millions


@pytest.mark.parametrize("name", ["vgg11", "vgg13", "vgg16", "vgg19", "vgg16_bn"])
def test_sizes_are_the_papers(name: str) -> None:
    model = create_model(name, **SMALL)
    weighted = (keras.layers.Conv2D, keras.layers.Dense)
    depth = sum(isinstance(layer, weighted) for layer in model.layers)
    assert name.removesuffix("_bn") == f"vgg{depth}"
    for stage, side in enumerate((224, 112, 56, 28, 14), 1):
        convs = [x for x in model.layers if x.name.startswith(f"stage{stage}_conv")]
        assert {x.output.shape[1:3] for x in convs} == {(side, side)}
        pool = model.get_layer(f"stage{stage}_pool")
        assert pool.output.shape[1:3] == (side // 2, side // 2)
    assert model.get_layer("flatten").output.shape == (None, 7 * 7 * 8)
    assert model.output_shape == (None, 1000)


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn"])
def test_layers_follow_each_other(name: str) -> None:
    model = create_model(name, **SMALL)
    expected = ["image"]
    for stage, depth in enumerate((1, 1, 2, 2, 2), 1):
        for i in range(1, depth + 1):
            steps = ("conv", "norm", "relu") if "bn" in name else ("conv", "relu")
            expected += [f"stage{stage}_{step}{i}" for step in steps]
        expected.append(f"stage{stage}_pool")
    expected.append("flatten")
    for fc in ("fc1", "fc2"):
        expected += [fc, f"{fc}_relu", f"{fc}_dropout"]
    assert [x.name for x in model.layers] == [*expected, "logits"]
    for before, after in pairwise(model.layers):
        assert after.input is before.output
    assert all(x.use_bias for x in model.layers if isinstance(x, keras.layers.Conv2D))
    assert model.get_layer("fc2_dropout").rate == 0.5


@pytest.mark.parametrize(
    ("shape", "left"), [((32, 32, 1), (1, 1)), ((70, 97, 3), (2, 3))], ids=str
)
def test_other_sizes(shape: tuple[int, int, int], left: tuple[int, int]) -> None:
    model = create_model("vgg11", input_shape=shape, classes=3, **SMALL)
    assert model.get_layer("stage5_pool").output.shape[1:3] == left
    assert model(np.ones((2, *shape), "float32")).shape == (2, 3)


@pytest.fixture
def live(enliven: Any) -> keras.Model:
    model = enliven(
        create_model("vgg11_bn", input_shape=(32, 32, 3), classes=3, **SMALL)
    )
    for weight in model.weights:
        if weight.name == "bias":
            weight.assign(np.random.default_rng(0).uniform(0, 0.5, weight.shape))
    return model


def images(count: int = 4) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 32, 32, 3)).astype("float32")


@pytest.mark.slow
def test_no_classes_gives_fc2(live: keras.Model) -> None:
    features = create_model("vgg11_bn", input_shape=(32, 32, 3), classes=0, **SMALL)
    assert [x.name for x in features.layers] == [x.name for x in live.layers[:-1]]
    features.set_weights(live.get_weights()[:-2])
    kernel, bias = live.get_layer("logits").get_weights()
    logits = np.asarray(features(images())) @ kernel + bias
    np.testing.assert_allclose(live(images()), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_saved_network_is_the_same(live: keras.Model, tmp_path: Path) -> None:
    live.save(tmp_path / "vgg.keras")
    y = np.asarray(live(images()))
    np.testing.assert_array_equal(load_model(tmp_path / "vgg.keras")(images()), y)
    assert np.abs(y[0] - y[1]).max() > 1e-3


def test_logits_are_float32_in_half_precision() -> None:
    small: dict[str, Any] = {"input_shape": (32, 32, 3), **SMALL}
    model = create_model("vgg11_bn", dtype="mixed_bfloat16", **small)
    assert model.get_layer("fc2").output.dtype == "bfloat16"
    assert model(images()).dtype == "float32"


@pytest.mark.slow
def test_fresh_signal_neither_dies_nor_explodes() -> None:
    model = create_model("vgg11", input_shape=(32, 32, 3), hidden=256)
    assert 0.02 < np.asarray(model(images())).std() < 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (224, None, 3)}, "height and width .* fixed, got None; give"),
        ({"input_shape": (31, 32, 3)}, "input of vgg16 must be at least 32×32"),
        ({"depths": (1, 0, 1, 1, 1)}, "depths must be one positive convolution count"),
        ({"depths": (1, 1)}, "widths must be 2 positive channel counts, got"),
        ({"widths": (8, 8, 8, 8, -8)}, "widths must be 5 positive channel counts"),
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be a rate of at least 0 and less than 1, got"),
        ({"normalised": 1}, "normalised of vgg16 must be of type bool, got 1"),
    ],
)
def test_mistake_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model("vgg16", **{"hidden": 8, **options})
