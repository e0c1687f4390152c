"""ResNeXt: golden counts, the template of widths, and the three equivalent forms."""

from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from unallocated import counts, unallocated

from keras_resnet import count_macs, count_params, create_model
from keras_resnet.catalogue import build_model
from keras_resnet.errors import UsageError
from keras_resnet.families.resnext import RESNEXTS, ResNeXtSpec
from keras_resnet.layers import GroupedConv2D

TORCHVISION = "torchvision.models.resnet, num_params and _ops of the weights"
PAPER = "Xie et al., 2017, table 4 (34.4 and 68.1 million), by count() below"
GOLDEN = {  # parameters, multiply-accumulates, source
    "resnext50_32x4d": (25_028_904, 4_230_479_872, TORCHVISION),
    "resnext101_32x4d": (44_177_704, 7_969_996_800, "timm's resnext101_32x4d"),
    "resnext101_32x8d": (88_791_336, 16_414_015_488, TORCHVISION),
    "resnext101_64x4d": (83_455_272, 15_460_270_080, TORCHVISION),
    "resnext29_8x64d_cifar": (34_426_698, 5_387_266_048, PAPER),
    "resnext29_16x64d_cifar": (68_155_210, 10_688_866_304, PAPER),
}
SMALL: dict[str, Any] = {
    "depths": (1, 1),
    "width": 8,
    "cardinality": 4,
    "group_width": 2,
    "input_shape": (8, 8, 3),
    "stem": "cifar",
    "classes": 3,
}


def count(
    depths: tuple[int, ...], cardinality: int, group_width: int, imagenet: bool
) -> tuple[int, int]:
    """Parameters and multiply-accumulates by table 1 of the paper alone."""
    side, classes = (56, 1000) if imagenet else (32, 10)
    channels, params = 64, (147 if imagenet else 27) * 64 + 2 * 64
    macs = 147 * 64 * 112**2 if imagenet else 27 * 64 * 32**2
    for stage, depth in enumerate(depths):
        inner, outer = cardinality * group_width * 2**stage, 256 * 2**stage
        for block in range(depth):
            small = side // 2 if stage and not block else side
            kernels = [
                (channels * inner, side),
                (9 * inner * inner // cardinality, small),
                (inner * outer, small),
            ]
            normalised = 2 * inner + outer
            if channels != outer:
                kernels.append((channels * outer, small))
                normalised += outer
            params += sum(weights for weights, _ in kernels) + 2 * normalised
            macs += sum(weights * at * at for weights, at in kernels)
            channels, side = outer, small
    return params + channels * classes + classes, macs + channels * classes


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_counts_follow_from_the_paper(name: str) -> None:
    spec = RESNEXTS[name]
    imagenet = not name.endswith("_cifar")
    counted = count(spec.depths, spec.cardinality, spec.group_width, imagenet)
    assert counted == GOLDEN[name][:2], GOLDEN[name][2]


def test_every_row_has_golden_counts() -> None:
    assert set(GOLDEN) == set(RESNEXTS)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n == "resnext50_32x4d" else pytest.mark.slow)
        for n in GOLDEN
    ],
)
def test_counts_are_golden(name: str) -> None:
    assert counts(name) == GOLDEN[name][:2]


@pytest.mark.parametrize(  # table 2: settings of equal complexity, 10⁶ parameters
    ("cardinality", "group_width"), [(1, 64), (2, 40), (4, 24), (8, 14), (32, 4)]
)
def test_settings_of_equal_complexity(cardinality: int, group_width: int) -> None:
    params, macs = count((3, 4, 6, 3), cardinality, group_width, imagenet=True)
    assert params / 1e6 == pytest.approx(25.3, abs=0.4)
    assert macs / 1e9 == pytest.approx(4.15, abs=0.12)


def test_cardinality_1_is_a_resnet() -> None:
    with unallocated():
        model = build_model("resnext50_32x4d", cardinality=1, group_width=64)
    assert count_params(model) == 25_557_032
    assert not any(isinstance(layer, GroupedConv2D) for layer in model.layers)


def test_overrides() -> None:
    with unallocated():
        model = build_model("resnext50_32x4d", cardinality=8, group_width=14)
    conv = model.get_layer("stage1_block1_conv2")
    assert (conv.groups, conv.filters) == (8, 112)
    assert model.get_layer("stage4_block1_conv2").filters == 8 * 112
    assert model.get_layer("stage4_block1_conv3").filters == 2048


@cache
def small(form: str) -> keras.Model:
    return create_model("resnext50_32x4d", form=form, **SMALL)


@pytest.mark.parametrize("form", ["A", "B"])
def test_paths_of_a_form(form: str) -> None:
    model = small(form)
    names = {layer.name for layer in model.layers}
    assert not any(isinstance(layer, GroupedConv2D) for layer in model.layers)
    assert {f"stage1_block1_path{path}_conv2" for path in range(1, 5)} <= names
    assert ("stage1_block1_path4_conv3" in names) == (form == "A")
    assert ("stage1_block1_sum" in names) == (form == "A")
    assert ("stage1_block1_concat" in names) == (form == "B")


@pytest.mark.parametrize("form", ["A", "B", "C"])
def test_forms_have_as_many_parameters_and_macs(form: str) -> None:
    whole, model = create_model("resnext50_32x4d", **SMALL), small(form)
    assert count_params(model) == count_params(whole)
    assert count_macs(model) == count_macs(whole)
    x = np.ones((2, 8, 8, 3), "float32")
    assert keras.ops.all(keras.ops.isfinite(model(x)))


@pytest.mark.parametrize("form", ["A", "B"])
def test_forms_start_alike(form: str) -> None:
    """resnext.lua draws a kernel by its side and the filters of all groups."""
    model = create_model("resnext50_32x4d", form=form, **SMALL | {"group_width": 16})
    for conv, filters in (("conv1", 4 * 32), ("conv2", 4 * 32), ("conv3", 8 * 4 * 2)):
        kernels = [
            np.asarray(layer.kernel)
            for layer in model.layers
            if layer.name.startswith("stage2_block1") and layer.name.endswith(conv)
        ]
        side = kernels[0].shape[0]
        drawn = np.concatenate([kernel.ravel() for kernel in kernels])
        assert drawn.std() == pytest.approx((2 / (side**2 * filters)) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cardinality": 0}, "cardinality must be at least 1, got 0"),
        ({"group_width": -1}, "group_width must be at least 1, got -1"),
        ({"form": "D"}, "form must be one of A, B, C, got 'D'"),
        ({"unit": "basic"}, "unit of a ResNeXt must be bottleneck, got 'basic'"),
    ],
)
def test_impossible_spec_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ResNeXtSpec((1,), **fields)
