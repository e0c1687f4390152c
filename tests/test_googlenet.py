"""GoogLeNet: table 1 of its paper, a module in NumPy, the auxiliary classifiers."""

from math import prod
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from graph import sources
from unallocated import unallocated

from keras_resnet import UsageError, count_macs, count_params, create_model, load_model
from keras_resnet.catalogue import build_model
from keras_resnet.families.googlenet import GOOGLENETS, GoogLeNetSpec

# Szegedy et al., 2015, table 1: side and channels of the output, #1×1, #3×3 reduce,
# #3×3, #5×5 reduce, #5×5, pool proj, params in 2¹⁰ and operations in 10⁶
TABLE_1 = {
    "3a": (28, 256, 64, 96, 128, 16, 32, 32, 159, 128),
    "3b": (28, 480, 128, 128, 192, 32, 96, 64, 380, 304),
    "4a": (14, 512, 192, 96, 208, 16, 48, 64, 364, 73),
    "4b": (14, 512, 160, 112, 224, 24, 64, 64, 437, 88),
    "4c": (14, 512, 128, 128, 256, 24, 64, 64, 463, 100),
    "4d": (14, 528, 112, 144, 288, 32, 64, 64, 580, 119),
    "4e": (14, 832, 256, 160, 320, 32, 128, 128, 840, 170),
    "5a": (7, 832, 256, 160, 320, 32, 128, 128, 1072, 54),
    "5b": (7, 1024, 384, 192, 384, 48, 128, 128, 1388, 71),
}
# What the table's own filters make where it prints 463, 580, 1072 (and 54) and 1388.
SLIPS = {"4c": 499, "4d": 592, "5a": 1019, "5b": 1410}
# Caffe's bvlc_googlenet without and with its two auxiliary classifiers
PARAMS, PARAMS_WITH_AUXILIARY, MACS = 6_998_552, 13_378_280, 1_582_671_872
PARTS = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
SMALL: dict[str, Any] = {
    "stages": (((2, 3, 4, 2, 3, 2), (4, 2, 4, 2, 2, 2)), ((3, 2, 4, 2, 2, 3),)),
    "widths": (4, 4, 6),
    "auxiliary_at": ("inception3b", "inception4a"),
}


@pytest.fixture(scope="module")
def googlenet() -> keras.Model:
    with unallocated():
        return build_model("googlenet")


def kernels(row: tuple[int, ...], channels: int) -> list[tuple[int, int, int]]:
    """Kernel, channels and filters of a module's convolutions, as ``PARTS``."""
    one, reduce3, three, reduce5, five, pool = row[2:8]
    return [
        (1, channels, one),
        (1, channels, reduce3),
        (3, reduce3, three),
        (1, channels, reduce5),
        (5, reduce5, five),
        (1, channels, pool),
    ]


def test_golden_counts_follow_from_the_paper() -> None:
    convs = [(7, 3, 64, 112), (1, 64, 64, 56), (3, 64, 192, 56)]
    channels = 192
    for row in TABLE_1.values():
        convs += [(*kernel, row[0]) for kernel in kernels(row, channels)]
        channels = row[1]
    params = sum(k * k * inputs * filters + filters for k, inputs, filters, _ in convs)
    macs = sum(k * k * inputs * filters * at * at for k, inputs, filters, at in convs)
    assert (params + 1024 * 1000 + 1000, macs + 1024 * 1000) == (PARAMS, MACS)
    auxiliary = 2 * (4 * 4 * 128 * 1024 + 1024 + 1024 * 1000 + 1000)
    auxiliary += (512 + 528) * 128 + 2 * 128
    assert PARAMS + auxiliary == PARAMS_WITH_AUXILIARY


def test_counts_are_golden(googlenet: keras.Model) -> None:
    assert (count_params(googlenet), count_macs(googlenet)) == (PARAMS, MACS)
    assert list(GOOGLENETS) == ["googlenet"]


@pytest.mark.parametrize("module", TABLE_1)
def test_modules_are_the_papers(googlenet: keras.Model, module: str) -> None:
    row = TABLE_1[module]
    side, channels, *filters, kilo, million = row
    output = googlenet.get_layer(f"inception{module}_concat").output
    assert output.shape == (None, side, side, channels)
    convs = [googlenet.get_layer(f"inception{module}_{part}") for part in PARTS]
    assert [conv.filters for conv in convs] == filters
    assert [conv.kernel_size[0] for conv in convs] == [1, 1, 3, 1, 5, 1]
    params = sum(conv.count_params() for conv in convs)
    macs = sum(prod(conv.kernel.shape) * side**2 for conv in convs)
    assert params / 1024 == pytest.approx(SLIPS.get(module, kilo), rel=0.01)
    assert macs / 1e6 == pytest.approx(51 if module == "5a" else million, rel=0.02)


def test_sizes_of_the_stem_and_pools(googlenet: keras.Model) -> None:
    sizes = {
        "stem_conv1": (112, 112, 64),
        "stem_pool1": (56, 56, 64),
        "stem_conv2": (56, 56, 64),
        "stem_conv3": (56, 56, 192),
        "stem_pool2": (28, 28, 192),
        "stage3_pool": (14, 14, 480),
        "stage4_pool": (7, 7, 832),
        "pool": (1024,),
        "dropout": (1024,),
        "logits": (1000,),
    }
    for name, size in sizes.items():
        assert googlenet.get_layer(name).output.shape[1:] == size, name
    assert googlenet.get_layer("dropout").rate == 0.4


def test_layers_and_their_order() -> None:
    model = create_model("googlenet", **SMALL)
    stem = (
        "conv1_pad conv1 conv1_relu pool1 lrn1 conv2 conv2_relu conv3 conv3_relu lrn2"
    )
    names = ["image", *(f"stem_{name}" for name in f"{stem} pool2".split())]
    assert [x.name for x in model.layers][: len(names)] == names
    module = [*PARTS, *(f"{part}_relu" for part in PARTS), "pool", "concat"]
    for name in ("inception3a", "inception3b", "inception4a"):
        names += [f"{name}_{part}" for part in module]
    names += ["stage3_pool", "pool", "dropout", "logits"]
    assert sorted(x.name for x in model.layers) == sorted(names)
    assert sources(model, "inception3b_concat") == [
        f"inception3b_{part}_relu" for part in ("1x1", "3x3", "5x5", "pool_proj")
    ]
    assert sources(model, "inception4a_pool") == ["stage3_pool"]
    assert sources(model, "stage3_pool") == ["inception3b_concat"]
    for name in ("stem_lrn1", "stem_lrn2"):  # Caffe's: α / n = 1e-4 / 5, k = 1
        layer = model.get_layer(name)
        assert (layer.size, layer.alpha, layer.beta, layer.k) == (5, 2e-5, 0.75, 1)


def convolve(x: np.ndarray, layer: keras.layers.Layer) -> np.ndarray:
    """Convolution that keeps the size, and ReLU."""
    kernel, bias = (np.asarray(w) for w in layer.weights)
    size = len(kernel)
    padded = np.pad(x, ((0, 0), *[(size // 2, size // 2)] * 2, (0, 0)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))
    return np.maximum(np.einsum("nhwcij,ijcf->nhwf", patches, kernel) + bias, 0)


def pool(x: np.ndarray, before: int, after: int, stride: int) -> np.ndarray:
    """3×3 maximum, of what is there only."""
    sides = [(before, after)] * 2
    padded = np.pad(x, ((0, 0), *sides, (0, 0)), constant_values=-np.inf)
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    return patches.max((-1, -2))[:, ::stride, ::stride]


@pytest.fixture(scope="module")
def live() -> keras.Model:
    model = create_model("googlenet", input_shape=(64, 64, 3), classes=3, **SMALL)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name == "bias":
            weight.assign(rng.uniform(-0.2, 0.5, weight.shape))
    return model


def images(side: int = 64) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, side, side, 3)).astype("float32")


def test_module_equals_numpy(live: keras.Model) -> None:
    """Szegedy et al., 2015, figure 2 (b)."""
    x = np.random.default_rng(2).normal(size=(2, 8, 8, 6)).astype("float32")
    part = {p: live.get_layer(f"inception3a_{p}") for p in PARTS}
    expected = np.concatenate(
        [
            convolve(x, part["1x1"]),
            convolve(convolve(x, part["3x3_reduce"]), part["3x3"]),
            convolve(convolve(x, part["5x5_reduce"]), part["5x5"]),
            convolve(pool(x, 1, 1, stride=1), part["pool_proj"]),
        ],
        axis=-1,
    )
    names = ("stem_pool2", "inception3a_concat")
    first, last = (live.get_layer(name).output for name in names)
    np.testing.assert_allclose(
        keras.Model(first, last)(x), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("side", "before"), [(8, 0), (7, 1)])
def test_pool_rounds_up(live: keras.Model, side: int, before: int) -> None:
    """An even size is padded at its end, as Caffe does; an odd one at both."""
    x = np.random.default_rng(3).normal(size=(2, side, side, 4)).astype("float32")
    y = np.asarray(live.get_layer("stem_pool1")(x))
    assert y.shape[1:3] == (4, 4)
    np.testing.assert_array_equal(y, pool(x, before, 1, stride=2))


@pytest.mark.parametrize("shape", [(32, 32, 1), (45, 77, 3), (None, None, 3)], ids=str)
def test_other_sizes(shape: tuple[int | None, int | None, int]) -> None:
    model = create_model("googlenet", input_shape=shape, classes=3, **SMALL)
    h, w, channels = shape
    x = np.ones((2, h or 33, w or 50, channels), "float32")
    assert model(x).shape == (2, 3)


@pytest.mark.slow
def test_no_classes_gives_pooled_features(live: keras.Model) -> None:
    options: dict[str, Any] = {"input_shape": (64, 64, 3), "classes": 0}
    features = create_model("googlenet", **options, **SMALL)
    features.set_weights(live.get_weights()[:-2])
    assert features.output_shape == (None, 12)
    kernel, bias = live.get_layer("logits").get_weights()
    logits = np.asarray(features(images())) @ kernel + bias
    np.testing.assert_allclose(live(images()), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_saved_network_is_the_same(live: keras.Model, tmp_path: Path) -> None:
    live.save(tmp_path / "googlenet.keras")
    y = np.asarray(live(images()))
    np.testing.assert_array_equal(load_model(tmp_path / "googlenet.keras")(images()), y)
    assert np.abs(y[0] - y[1]).max() > 1e-3


@pytest.mark.slow
def test_fresh_signal_neither_dies_nor_explodes() -> None:
    model = create_model("googlenet", input_shape=(64, 64, 3))
    assert 0.02 < np.asarray(model(images())).std() < 20


def test_auxiliary_classifiers_are_the_papers(googlenet: keras.Model) -> None:
    """Szegedy et al., 2015, section 5."""
    spec = GOOGLENETS["googlenet"]
    before = [layer.name for layer in googlenet.layers]
    heads = spec.auxiliary(googlenet, 1000)
    training = keras.Model(googlenet.input, [googlenet.output, *heads])
    assert count_params(training) == PARAMS_WITH_AUXILIARY
    assert [layer.name for layer in googlenet.layers] == before
    parts = [
        "pool",
        "conv",
        "conv_relu",
        "flatten",
        "fc",
        "fc_relu",
        "dropout",
        "logits",
    ]
    for aux, module, channels in (("aux1", "4a", 512), ("aux2", "4d", 528)):
        found = [x for x in training.layers if x.name.startswith(aux)]
        assert [x.name for x in found] == [f"{aux}_{part}" for part in parts]
        assert sources(training, f"{aux}_pool") == [f"inception{module}_concat"]
        layer = {part: training.get_layer(f"{aux}_{part}") for part in parts}
        assert layer["pool"].output.shape == (None, 4, 4, channels)
        assert (layer["conv"].filters, layer["fc"].units) == (128, 1024)
        assert layer["dropout"].rate == 0.7
    assert [head.shape for head in heads] == [(None, 1000)] * 2
    assert spec.auxiliary_weight == 0.3


@pytest.mark.parametrize(
    "policy", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
def test_auxiliary_classifiers_train_with_the_network(policy: str) -> None:
    spec = GoogLeNetSpec(**SMALL)
    options: dict[str, Any] = {"input_shape": (64, 64, 3), "classes": 3}
    model = create_model("googlenet", **options, dtype=policy, **SMALL)
    heads = spec.auxiliary(model, 3)
    assert [head.dtype for head in heads] == ["float32"] * 2
    training = keras.Model(model.input, [model.output, *heads])
    # The maps, 8×8 and 4×4, hold two 5×5 windows a side, and less than one.
    pools = [training.get_layer(f"aux{i}_pool").output.shape[1:3] for i in (1, 2)]
    assert pools == [(2, 2), (1, 1)]
    with tf.GradientTape() as tape:
        main, *auxiliary = training(images(), training=True)
        loss = tf.reduce_sum(main) + spec.auxiliary_weight * sum(
            tf.reduce_sum(y) for y in auxiliary
        )
    weights = {v.path: v.value for v in training.trainable_variables}
    gradients = tape.gradient(loss, weights)
    assert all(g is not None and np.isfinite(g).all() for g in gradients.values())
    for path in ("stem_conv1", "aux1_conv", "aux2_fc", "aux2_logits", "logits"):
        assert np.abs(gradients[f"{path}/kernel"]).max() > 0


def test_mistakes_with_auxiliary_classifiers_are_told() -> None:
    spec = GoogLeNetSpec(**SMALL)
    model = create_model("googlenet", input_shape=(None, 64, 3), **SMALL)
    with pytest.raises(UsageError, match=r"height and width .* fixed, got None"):
        spec.auxiliary(model, 3)
    with pytest.raises(
        UsageError, match="auxiliary classifier must be at least 1, got"
    ):
        spec.auxiliary(model, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (31, 224, 3)}, "input of googlenet must be at least 32×32"),
        ({"widths": (64, 64)}, "widths must be 3 positive channel counts, got"),
        ({"dropout": 1.5}, "dropout must be a rate of at least 0 and less than 1, got"),
        ({"stages": ()}, r"stages must each be 1 to 26 modules .*, got \(\)"),
        ({"stages": ((),)}, "stages must each be 1 to 26 modules of six positive"),
        ({"stages": (((1, 2, 3),),)}, "modules of six positive channel counts, got"),
        (
            {"stages": (((1, 1, 1, 1, 1, 0),),)},
            "modules of six positive channel counts",
        ),
        ({"stages": ((1,), 2)}, "modules of six positive channel counts"),
        (
            {"auxiliary_at": ("inception6a",)},
            "auxiliary_at must be among inception3a",
        ),
        ({"auxiliary_weight": -1.0}, "auxiliary_weight must be at least 0, got -1"),
    ],
)
def test_mistake_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model("googlenet", **options)
