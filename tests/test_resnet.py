"""Residual networks: golden counts, the walk of sizes, the papers' special cases."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from graph import sources
from unallocated import counts, unallocated

from keras_resnet import count_macs, count_params, create_model
from keras_resnet.catalogue import build_model
from keras_resnet.families.resnet import PLAINS, RESNETS, ResNetSpec

TORCHVISION = "torchvision.models.resnet, num_params and _ops of the weights"
KERAS = "keras.applications' trainable parameters, folded biases left out"
AKAMASTER = "github.com/akamaster/pytorch_resnet_cifar10"
PYTORCHCV = "github.com/osmr/imgclsmob, the counts its tests assert"
ARITHMETIC = "tables of the papers, by count() below"


class Golden(NamedTuple):
    name: str
    params: int
    macs: int
    source: str
    overrides: tuple[tuple[str, str], ...] = ()


PROJECTED = (("shortcut", "B"),)
GOLDEN = [
    Golden("resnet18", 11_689_512, 1_814_073_344, TORCHVISION),
    Golden("resnet34", 21_797_672, 3_663_761_408, TORCHVISION),
    Golden("resnet50", 25_557_032, 3_857_973_248, ARITHMETIC),
    Golden("resnet101", 44_549_160, 7_570_194_432, ARITHMETIC),
    Golden("resnet152", 60_192_808, 11_282_415_616, ARITHMETIC),
    Golden("resnet50_v1_5", 25_557_032, 4_089_184_256, TORCHVISION),
    Golden("resnet101_v1_5", 44_549_160, 7_801_405_440, TORCHVISION),
    Golden("resnet152_v1_5", 60_192_808, 11_513_626_624, TORCHVISION),
    Golden("resnet50_v2", 25_549_352, 4_089_184_256, KERAS),
    Golden("resnet101_v2", 44_541_480, 7_801_405_440, KERAS),
    Golden("resnet152_v2", 60_185_128, 11_513_626_624, KERAS),
    # 64,666,280 in pytorchcv, which normalises the stem's output twice (2 · 64).
    Golden("resnet200_v2", 64_666_152, 15_007_481_856, PYTORCHCV),
    Golden("resnet20_cifar", 269_722, 40_551_040, AKAMASTER),
    Golden("resnet32_cifar", 464_154, 68_862_592, AKAMASTER),
    Golden("resnet44_cifar", 658_586, 97_174_144, AKAMASTER),
    Golden("resnet56_cifar", 853_018, 125_485_696, AKAMASTER),
    Golden("resnet110_cifar", 1_727_962, 252_887_680, AKAMASTER),
    Golden("resnet20_cifar", 272_474, 40_813_184, PYTORCHCV, PROJECTED),
    Golden("resnet56_cifar", 855_770, 125_747_840, PYTORCHCV, PROJECTED),
    Golden("resnet110_cifar", 1_730_714, 253_149_824, PYTORCHCV, PROJECTED),
    Golden("resnet164_cifar", 1_704_154, 244_500_992, PYTORCHCV),
    Golden("resnet1202_cifar", 19_421_274, 2_829_238_912, PYTORCHCV),
    Golden("resnet1202_cifar", 19_424_026, 2_829_501_056, PYTORCHCV, PROJECTED),
    Golden("resnet110_v2_cifar", 1_727_962, 252_887_680, ARITHMETIC),
    Golden("resnet110_v2_cifar", 1_730_522, 253_149_824, PYTORCHCV, PROJECTED),
    Golden("resnet164_v2_cifar", 1_703_258, 244_500_992, PYTORCHCV),
    Golden("resnet1001_v2_cifar", 10_327_706, 1_487_849_984, PYTORCHCV),
    Golden("resnet110_sd_cifar", 1_727_962, 252_887_680, AKAMASTER),
    Golden("resnet1202_sd_cifar", 19_421_274, 2_829_238_912, PYTORCHCV),
    Golden("resnet50_v2_keras", 25_549_416, 3_482_255_360, KERAS),
    Golden("resnet101_v2_keras", 44_541_544, 7_194_476_544, KERAS),
    Golden("resnet152_v2_keras", 60_185_192, 10_906_697_728, KERAS),
    Golden("plain18", 11_515_688, 1_794_805_760, ARITHMETIC),
    Golden("plain34", 21_623_848, 3_644_493_824, ARITHMETIC),
    Golden("plain20_cifar", 269_722, 40_551_040, AKAMASTER),
    Golden("plain32_cifar", 464_154, 68_862_592, AKAMASTER),
    Golden("plain44_cifar", 658_586, 97_174_144, AKAMASTER),
    Golden("plain56_cifar", 853_018, 125_485_696, AKAMASTER),
    Golden("plain110_cifar", 1_727_962, 252_887_680, AKAMASTER),
]
QUICK = ("resnet20_cifar",)


class Table(NamedTuple):
    """A network as the papers' tables have it, nothing taken from the library."""

    depths: tuple[int, ...]
    bottleneck: bool = True
    imagenet: bool = True
    stride_in_3x3: bool = True
    projects: bool = True
    preactivation: bool = False
    halves_last: bool = False


BASIC = Table((), bottleneck=False, imagenet=False, projects=False)
BOTTLENECK = Table((), imagenet=False, stride_in_3x3=False)
TABLES = {
    "resnet18": Table((2, 2, 2, 2), bottleneck=False),
    "resnet34": Table((3, 4, 6, 3), bottleneck=False),
    "resnet50": Table((3, 4, 6, 3), stride_in_3x3=False),
    "resnet101": Table((3, 4, 23, 3), stride_in_3x3=False),
    "resnet152": Table((3, 8, 36, 3), stride_in_3x3=False),
    "resnet50_v1_5": Table((3, 4, 6, 3)),
    "resnet101_v1_5": Table((3, 4, 23, 3)),
    "resnet152_v1_5": Table((3, 8, 36, 3)),
    "resnet50_v2": Table((3, 4, 6, 3), preactivation=True),
    "resnet101_v2": Table((3, 4, 23, 3), preactivation=True),
    "resnet152_v2": Table((3, 8, 36, 3), preactivation=True),
    "resnet200_v2": Table((3, 24, 36, 3), preactivation=True),
    "resnet50_v2_keras": Table((3, 4, 6, 3), preactivation=True, halves_last=True),
    "resnet101_v2_keras": Table((3, 4, 23, 3), preactivation=True, halves_last=True),
    "resnet152_v2_keras": Table((3, 8, 36, 3), preactivation=True, halves_last=True),
    **{
        f"{kind}{6 * n + 2}_cifar": BASIC._replace(depths=(n, n, n))
        for kind, depths in (
            ("resnet", (3, 5, 7, 9, 18, 200)),
            ("plain", (3, 5, 7, 9, 18)),
        )
        for n in depths
    },
    "resnet110_sd_cifar": BASIC._replace(depths=(18, 18, 18)),
    "resnet1202_sd_cifar": BASIC._replace(depths=(200, 200, 200)),
    "resnet110_v2_cifar": BASIC._replace(depths=(18, 18, 18), preactivation=True),
    "resnet164_cifar": BOTTLENECK._replace(depths=(18, 18, 18)),
    "resnet164_v2_cifar": BOTTLENECK._replace(depths=(18, 18, 18), preactivation=True),
    "resnet1001_v2_cifar": BOTTLENECK._replace(
        depths=(111, 111, 111), preactivation=True
    ),
    "plain18": Table((2, 2, 2, 2), bottleneck=False, projects=False),
    "plain34": Table((3, 4, 6, 3), bottleneck=False, projects=False),
}


def count(table: Table) -> tuple[int, int]:
    """Parameters and multiply-accumulates, by the papers' description alone."""
    if table.imagenet:  # kernel, input channels, output channels, output side
        convs, side, channels, width, classes = [(7, 3, 64, 112)], 56, 64, 64, 1000
    else:
        convs, side, channels, width, classes = [(3, 3, 16, 32)], 32, 16, 16, 10
    normalised = channels  # of all batch norms together
    for stage, depth in enumerate(table.depths):
        for block in range(depth):
            halves = stage > 0 and block == 0
            if table.halves_last:
                halves = stage < len(table.depths) - 1 and block == depth - 1
            small = side // 2 if halves else side
            branch = unit(table, channels, width, side, small)
            outputs = branch[-1][2]
            projected = table.projects and channels != outputs
            convs += branch + projected * [(1, channels, outputs, small)]
            if table.preactivation:  # in front of each; the very first is the stem's
                normalised += sum(conv[1] for conv in branch)
                normalised -= channels * (stage == block == 0)
            else:
                normalised += sum(conv[2] for conv in branch) + projected * outputs
            channels, side = outputs, small
        width *= 2
    normalised += channels * table.preactivation
    kernels = [(k * k * inputs * outputs, at) for k, inputs, outputs, at in convs]
    dense = channels * classes
    biases = classes + 64 * table.halves_last  # of the logits and that stem
    params = sum(weights for weights, _ in kernels) + 2 * normalised + dense + biases
    return params, sum(weights * at * at for weights, at in kernels) + dense


def unit(
    table: Table, channels: int, width: int, side: int, small: int
) -> list[tuple[int, int, int, int]]:
    """A unit's convolutions from maps of ``side`` to maps of ``small`` pixels."""
    if not table.bottleneck:
        return [(3, channels, width, small), (3, width, width, small)]
    return [
        (1, channels, width, side if table.stride_in_3x3 else small),
        (3, width, width, small),
        (1, width, 4 * width, small),
    ]


def test_resnet1001_is_printed_without_its_batch_norms() -> None:
    """The paper's 10.2M (2016, table 4), as docs/architectures.md explains it."""
    params, _ = count(TABLES["resnet1001_v2_cifar"])
    inner = 111 * sum(4 * width + width + width for width in (16, 32, 64))
    # A stage's first unit reads fewer channels; one norm stands at the very end.
    firsts = (16 - 64) + (64 - 128) + (128 - 256)
    norms = 2 * (inner + firsts + 256)
    assert (norms, params - norms) == (149_216, 10_178_490)


def ids(golden: Golden) -> str:
    return "-".join([golden.name, *(value for _, value in golden.overrides)])


@pytest.mark.parametrize("golden", GOLDEN, ids=ids)
def test_golden_counts_follow_from_the_papers(golden: Golden) -> None:
    table = TABLES[golden.name]
    if golden.overrides == PROJECTED:
        table = table._replace(projects=True)
    assert count(table) == (golden.params, golden.macs)


@pytest.mark.parametrize(
    "golden",
    [
        pytest.param(g, id=ids(g), marks=() if g.name in QUICK else pytest.mark.slow)
        for g in GOLDEN
        # Of the three with 1,202 layers one is enough.
        if g.name != "resnet1202_sd_cifar" and not ("1202" in g.name and g.overrides)
    ],
)
def test_counts_are_golden(golden: Golden) -> None:
    counted = counts(golden.name, **dict(golden.overrides))
    assert counted == (golden.params, golden.macs), golden.source


def test_counts_are_those_of_the_network() -> None:
    model = create_model("resnet20_cifar")
    assert (count_params(model), count_macs(model)) == counts("resnet20_cifar")


def test_every_network_has_golden_counts() -> None:
    assert {golden.name for golden in GOLDEN} == {*RESNETS, *PLAINS} == set(TABLES)


@pytest.mark.parametrize(  # He et al., 2015, table 1, last row, in 10⁹
    ("name", "flops"),
    [
        ("resnet18", 1.8),
        ("resnet34", 3.6),
        ("resnet50", 3.8),
        ("resnet101", 7.6),
        ("resnet152", 11.3),
    ],
)
def test_golden_macs_are_the_papers_flops(name: str, flops: float) -> None:
    macs = next(golden.macs for golden in GOLDEN if golden.name == name)
    assert macs / 1e9 == pytest.approx(flops, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [50, 101, 152])
def test_v2_counts_are_those_of_keras_without_biases(depth: int) -> None:
    with unallocated():
        reference = getattr(keras.applications, f"ResNet{depth}V2")(weights=None)
    biases = sum(
        layer.bias.shape[0]
        for layer in reference.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.use_bias
    )
    assert biases == {50: 19_008, 101: 36_416, 152: 51_776}[depth]
    ours = next(g.params for g in GOLDEN if g.name == f"resnet{depth}_v2")
    assert count_params(reference) - biases == ours


# Shallow forms of every kind of network.
SHALLOW: dict[str, dict[str, Any]] = {
    "resnet18": {"depths": (1, 1, 1, 1), "width": 8},
    "resnet50": {"depths": (1, 1, 1, 1), "width": 8},
    "resnet50_v1_5": {"depths": (1, 1, 1, 1), "width": 8},
    "resnet50_v2": {"depths": (1, 1, 1, 1), "width": 8},
    "resnet20_cifar": {"depths": (1, 1, 1)},
    "resnet164_cifar": {"depths": (1, 1, 1)},
}


@pytest.fixture(params=["resnet18", "resnet50", "resnet50_v2", "resnet20_cifar"])
def shallow(request: pytest.FixtureRequest) -> Callable[..., keras.Model]:
    """Makes a shallow form of one network."""
    name = request.param
    return lambda **options: create_model(name, **{**SHALLOW[name], **options})


def sizes(model: keras.Model, suffix: str) -> list[tuple[int | None, ...]]:
    found = [x for x in model.layers if x.name.endswith(suffix)]
    return [tuple(layer.output.shape[1:3]) for layer in found]


@pytest.mark.parametrize(
    ("name", "stem", "stages"),
    [
        ("resnet18", [112, 56], [56, 28, 14, 7]),
        ("resnet50", [112, 56], [56, 28, 14, 7]),
        ("resnet50_v1_5", [112, 56], [56, 28, 14, 7]),
        ("resnet50_v2", [112, 56], [56, 28, 14, 7]),
        ("resnet20_cifar", [32], [32, 16, 8]),
        ("resnet164_cifar", [32], [32, 16, 8]),
    ],
)
def test_sizes_of_the_feature_maps(
    name: str, stem: list[int], stages: list[int]
) -> None:
    model = create_model(name, **SHALLOW[name])
    walked = [*sizes(model, "stem_conv"), *sizes(model, "stem_pool")]
    assert walked == [(side, side) for side in stem]
    assert sizes(model, "_add") == [(side, side) for side in stages]
    assert model.output_shape == (None, 1000 if "cifar" not in name else 10)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(33, 47, 1), (36, 32, 5)], ids=str)
def test_any_size_and_number_of_channels(
    shallow: Callable[..., keras.Model], shape: tuple[int, int, int]
) -> None:
    fixed = shallow(input_shape=shape, classes=4)
    sides = [shape[:2], *sizes(fixed, "stem_conv"), *sizes(fixed, "stem_pool")]
    sides += sizes(fixed, "_add")
    for (h, w), after in pairwise(sides):
        assert after in ((h, w), (-(-h // 2), -(-w // 2)))
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    logits = fixed(x, training=False)
    assert logits.shape == (2, 4)
    assert np.isfinite(logits).all()
    free = shallow(input_shape=(None, None, shape[-1]), classes=4)
    free.set_weights(fixed.get_weights())
    np.testing.assert_allclose(free(x, training=False), logits, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_logits_are_float32_in_any_precision(
    shallow: Callable[..., keras.Model], policy: str
) -> None:
    model = shallow(input_shape=(32, 32, 3), dtype=policy)
    assert model.output.dtype == "float32"
    assert model(np.ones((1, 32, 32, 3), "float32")).dtype == "float32"
    assert {v.dtype for v in model.variables if "seed" not in v.name} == {"float32"}
    compute = policy.removeprefix("mixed_")
    assert model.get_layer("stage1_block1_conv1").output.dtype == compute


@pytest.mark.slow
def test_no_classes_gives_pooled_features(shallow: Callable[..., keras.Model]) -> None:
    features = shallow(input_shape=(32, 32, 3), classes=0)
    whole = shallow(input_shape=(32, 32, 3), classes=3)
    assert [x.name for x in features.layers] == [x.name for x in whole.layers[:-1]]
    features.set_weights(whole.get_weights()[:-2])
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    kernel, bias = whole.get_layer("logits").get_weights()
    logits = np.asarray(features(x, training=False)) @ kernel + bias
    np.testing.assert_allclose(whole(x, training=False), logits, rtol=1e-4, atol=1e-5)


def test_pooled_features_of_the_paper_are_2048() -> None:
    with unallocated():
        model = build_model("resnet50", depths=(1, 1, 1, 1), classes=0)
    assert model.output_shape == (None, 2048)


def test_v2_starts_from_the_stem_and_ends_activated() -> None:
    model = create_model("resnet50_v2", depths=(2, 1, 1, 1), width=8)
    names = [layer.name for layer in model.layers]
    # The first unit neither normalises nor activates what the stem already did …
    assert not any(name.startswith("stage1_block1_pre") for name in names)
    assert sources(model, "stem_pool") == ["stem_relu"]
    assert sources(model, "stage1_block1_conv1") == ["stem_pool"]
    assert sources(model, "stage1_block1_shortcut") == ["stem_pool"]
    # … a later one does, and its identity goes around that, its projection does not.
    assert sources(model, "stage1_block2_conv1") == ["stage1_block2_pre_relu"]
    assert "stage1_block1_add" in sources(model, "stage1_block2_add")
    assert sources(model, "stage2_block1_shortcut") == ["stage2_block1_pre_relu"]
    # The sum of all units is normalised and activated once more.
    assert names[-5:] == [
        "stage4_block1_add",
        "final_norm",
        "final_relu",
        "pool",
        "logits",
    ]
    assert sources(model, "final_norm") == ["stage4_block1_add"]


def test_v1_ends_with_its_last_unit() -> None:
    model = create_model("resnet18", depths=(1, 1, 1, 1), width=8)
    assert sources(model, "pool") == ["stage4_block1_relu"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "overrides", "projected"),
    [
        ("resnet18", {}, "21 31 41"),
        ("resnet18", {"shortcut": "C"}, "11 12 21 22 31 32 41 42"),
        ("resnet18", {"shortcut": "A"}, ""),
        ("resnet50", {"width": 8}, "11 21 31 41"),
        ("resnet50_v2", {"width": 8}, "11 21 31 41"),
        ("resnet20_cifar", {}, ""),
        ("resnet20_cifar", {"shortcut": "B"}, "21 31"),
        ("resnet20_cifar", {"shortcut": "C"}, "11 12 21 22 31 32"),
        ("resnet164_cifar", {}, "11 21 31"),
    ],
)
def test_units_that_own_a_projection(
    name: str, overrides: dict[str, Any], projected: str
) -> None:
    stages = len(RESNETS[name].depths)
    with unallocated():
        model = build_model(name, depths=(2,) * stages, **overrides)
    found = [
        layer.name
        for layer in model.layers
        if layer.name.endswith("_shortcut") and layer.weights
    ]
    assert found == [f"stage{s}_block{b}_shortcut" for s, b in projected.split()]


@pytest.mark.parametrize(
    ("name", "halving"),
    [("resnet50", "conv1"), ("resnet50_v1_5", "conv2"), ("resnet50_v2", "conv2")],
)
def test_convolution_of_a_bottleneck_that_halves(name: str, halving: str) -> None:
    model = create_model(name, **SHALLOW[name])
    for stage in (2, 3, 4):
        unit = f"stage{stage}_block1"
        strides = {
            conv: model.get_layer(f"{unit}_{conv}").strides[0]
            for conv in ("conv1", "conv2", "conv3", "shortcut")
        }
        assert {c for c, stride in strides.items() if stride == 2} == {
            halving,
            "shortcut",
        }


@pytest.mark.parametrize("name", RESNETS)
def test_depth_is_in_the_name(name: str) -> None:
    spec = RESNETS[name]
    layers = sum(spec.depths) * (2 if spec.unit == "basic" else 3) + 2
    assert name.split("_", maxsplit=1)[0] == f"resnet{layers}"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depths": ()}, r"depths must be one positive unit count per stage, got \(\)"),
        ({"depths": (3, 0)}, r"depths must be .* got \(3, 0\)"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"unit": "wide"}, "unit must be one of basic, bottleneck, got 'wide'"),
        ({"stem": "s2d"}, "stem must be one of imagenet, cifar, pool_first, got 's2d'"),
        ({"order": "v3"}, "order must be one of original, .*, got 'v3'"),
        ({"shortcut": "D"}, "shortcut must be one of A, A_pooled, B, C, none, got 'D'"),
        ({"stride_at": "2x2"}, "stride_at must be one of 1x1, 3x3, got '2x2'"),
    ],
)
def test_impossible_spec_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResNetSpec(**{"depths": (1,), **fields})
