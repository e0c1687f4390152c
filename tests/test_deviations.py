"""Every line of ``deviations`` is true, of the network and of its peers."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from unallocated import unallocated

from keras_resnet import (
    MODELS,
    AlexNetSpec,
    DenseNetSpec,
    ResNetSpec,
    ResNeXtSpec,
    UsageError,
    VGGSpec,
    create_model,
)
from keras_resnet.deviations import DEVIATIONS, KERAS, PAPER, deviations, report

Layers = dict[str, Any]
SIDE = 64
GOLDEN = Path(__file__).parent / "golden"
TORCH = json.loads(gzip.decompress((GOLDEN / "torch.json.gz").read_bytes()))[
    "torchvision"
]
# What torchvision's networks do (make_torchvision_golden.py), by the type of ours.
RECORDED = json.loads((GOLDEN / "torchvision.json").read_text("utf-8"))
TORCHVISION = {
    AlexNetSpec: RECORDED["alexnet"],
    DenseNetSpec: RECORDED["densenet121"],
    ResNetSpec: RECORDED["resnet18"],
    ResNeXtSpec: RECORDED["resnext50_32x4d"],
    VGGSpec: RECORDED["vgg11_bn"],
}


def small(name: str) -> dict[str, Any]:
    """Overrides that leave every kind of layer."""
    spec = MODELS[name]
    found: dict[str, Any] = {"hidden": 8} if hasattr(spec, "hidden") else {}
    if hasattr(spec, "depths"):
        found["depths"] = (2,) * len(spec.depths)
    return found


def distinct() -> list[str]:
    """A name of each network that is another one when small, or deviates otherwise."""
    found: dict[Any, str] = {}
    for name, spec in MODELS.items():
        rows = tuple(row.key for row in deviations(name))
        if rows:
            found.setdefault((replace(spec, **small(name)), rows), name)
    return list(found.values())


@cache
def layers(name: str) -> Layers:
    side = None if MODELS[name].input_shape[0] != 224 else SIDE
    shape = (side, side, 3) if side else None
    model = create_model(name, input_shape=shape, **small(name))
    return {layer.name: layer for layer in model.layers}


@cache
def theirs(name: str) -> Layers:
    with unallocated():
        model = getattr(keras.applications, name)(weights=None)
    return {layer.name: layer for layer in model.layers}


def norms(found: Layers) -> list[Any]:
    kind = keras.layers.BatchNormalization
    return [layer for layer in found.values() if isinstance(layer, kind)]


def convs(found: Layers) -> list[Any]:
    return [x for x in found.values() if isinstance(x, keras.layers.Conv2D)]


def strides(found: Layers, layer: str) -> int:
    return int(found[layer].strides[0])


def peer(name: str) -> Layers:
    if name.startswith("densenet"):
        return theirs("DenseNet121")
    return theirs("ResNet50V2" if "_v2" in name else "ResNet50")


def spread(layer: Any) -> float:
    """Deviation of a kernel in units of He et al.'s, the smaller of the two fans."""
    kernel = np.asarray(layer.kernel)
    area = np.prod(kernel.shape[:-2])
    fans = [area * kernel.shape[-2], area * kernel.shape[-1]]
    return min(abs(kernel.std() / (2 / fan) ** 0.5 - 1) for fan in fans)


def torchvision(name: str) -> dict[str, Any]:
    return TORCHVISION[type(MODELS[name])]


def fits_one_size(name: str) -> bool:
    with pytest.raises(UsageError, match="must be fixed, got None"):
        create_model(name, input_shape=(None, None, 3), **small(name))
    first = "fc1" if "fc1" in layers(name) else "fc6"
    larger = create_model(name, input_shape=(96, 96, 3), **small(name))
    return bool(
        layers(name)[first].kernel.shape != larger.get_layer(first).kernel.shape
    )


def variance_of_a_pair(norm: Any) -> float:
    """The moving variance, 1 before, after a training step on 0 and 2."""
    fresh = type(norm).from_config(norm.get_config())
    fresh(np.reshape([0, 2], (2, 1, 1, 1)).astype("float32"), training=True)
    return float(np.asarray(fresh.moving_variance)[0])


CHECKS: dict[str, Callable[[str], bool]] = {
    "rbf": lambda n: type(layers(n)["logits"]) is keras.layers.Dense,
    "lenet_subsampling": lambda n: (
        type(layers(n)["s2_pool"]) is keras.layers.AveragePooling2D
    ),
    "lenet_initial": lambda n: (
        0.7 < np.std(layers(n)["f6"].kernel) * 120**0.5 < 1.3
        and np.abs(layers(n)["f6"].kernel).max() > 2.4 / 120
    ),
    "alexnet_padding": lambda n: layers(n)["conv1_pad"].padding == ((2, 2), (2, 2)),
    "alexnet_towers": lambda n: (
        layers(n)["conv2"].groups == 2 and layers(n)["conv3"].groups == 1
    ),
    "alexnet_one_tower": lambda n: (
        "conv1_lrn" in layers(n)
        and TORCH["alexnet_one_tower"]["parameters"]["features.0.weight"][0] == 64
        and TORCH["alexnet_one_tower"]["parameters"]["features.3.weight"][1] == 64
    ),
    "he_initial": lambda n: all(spread(x) < 0.1 for x in convs(layers(n))[1:]),
    "vgg_norm": lambda n: all(x.use_bias for x in convs(layers(n))),
    "vgg_dropout": lambda n: (
        "fc1_dropout" in layers(n)
        and not any(
            isinstance(x, keras.layers.Dropout) for x in theirs("VGG16").values()
        )
    ),
    "fixed_head": lambda n: (
        fits_one_size(n) and torchvision(n)["sides"] == [64, 96, 224]
    ),
    "googlenet_response": lambda n: (
        layers(n)["stem_lrn1"].k == 1.0
        and layers(n)["stem_lrn1"].alpha == pytest.approx(2e-5)
    ),
    "googlenet_5x5": lambda n: (
        layers(n)["inception3a_5x5"].kernel_size == (5, 5)
        and TORCH["googlenet"]["parameters"]["inception3a.branch3.1.conv.weight"][2:]
        == [3, 3]
        and "conv1.bn.weight" in TORCH["googlenet"]["parameters"]
    ),
    "highway_norm": lambda n: "stage1_block1_norm1" in layers(n),
    "stride_3x3": lambda n: (
        strides(layers(n), "stage2_block1_conv1") == 1
        and strides(layers(n), "stage2_block1_conv2") == 2
    ),
    "v2_first": lambda n: strides(layers(n), "stage2_block1_conv2") == 2,
    "v2_keras": lambda n: (
        strides(layers(n), "stage1_block2_conv2") == 2
        and strides(layers(n), "stage2_block1_conv2") == 1
        and layers(n)["stem_conv"].use_bias
        and "stem_norm" not in layers(n)
        and type(layers(n)["stem_pool_pad"]) is keras.layers.ZeroPadding2D
    ),
    "option_a": lambda n: not layers(n)["stage2_block1_shortcut"].weights,
    "sd_initial": lambda n: (
        not layers(n)["stem_conv"].use_bias
        and np.std(layers(n)["stem_conv"].kernel)
        == pytest.approx(
            (2 / (9 * 16)) ** 0.5, rel=0.25
        )  # fan-in: (2 / (9 · 3)) ** 0.5
        and type(layers(n)["stage2_block1_shortcut_pool"])
        is keras.layers.AveragePooling2D
    ),
    "keras_bias": lambda n: (
        peer(n)["conv1_conv"].use_bias
        and not any(x.use_bias for x in convs(layers(n)) if x.name != "stem_conv")
    ),
    "keras_v2": lambda n: (
        strides(peer(n), "conv2_block3_2_conv") == 2
        and strides(peer(n), "conv3_block1_2_conv") == 1
        and "conv1_bn" not in peer(n)
    ),
    "keras_epsilon": lambda n: (
        {x.epsilon for x in norms(layers(n))} == {1e-5}
        and {x.epsilon for x in norms(peer(n))} == {1.001e-5}
    ),
    "keras_momentum": lambda n: (
        {x.momentum for x in norms(layers(n))} == {0.9}
        and {x.momentum for x in norms(peer(n))} == {0.99}
    ),
    "keras_initial": lambda n: (
        type(convs(peer(n))[0].kernel_initializer) is keras.initializers.GlorotUniform
        and type(convs(layers(n))[0].kernel_initializer)
        is keras.initializers.VarianceScaling
    ),
    "keras_pool": lambda n: (
        any("pool1_pad" in name or "zero_padding" in name for name in peer(n))
        and "stem_pool_pad" not in layers(n)
    ),
    "stride_1x1": lambda n: (
        strides(layers(n), "stage2_block1_conv1") == 2
        and strides(layers(n), "stage2_block1_conv2") == 1
    ),
    "torchvision_momentum": lambda n: (
        {x.momentum for x in norms(layers(n))} == {0.9}
        and torchvision(n)["momentum"] == [0.1]
        # 0.9 · 1 + 0.1 · v for the biased variance of 0 and 2, 1, and the unbiased, 2
        and variance_of_a_pair(norms(layers(n))[0]) == pytest.approx(1.0)
        and torchvision(n)["variance"] == pytest.approx(1.1)
    ),
}


def test_every_line_has_a_check() -> None:
    keys = [row.key for row in DEVIATIONS]
    assert sorted(keys) == sorted(set(keys)) == sorted(CHECKS)


@pytest.mark.slow
@pytest.mark.parametrize("name", distinct())
def test_every_line_is_true(name: str) -> None:
    for row in deviations(name):
        assert CHECKS[row.key](name), row.text


def test_report_is_in_the_order_of_peers() -> None:
    text = report("resnet50_v1_5")
    assert text.startswith("resnet50_v1_5:\n\nunlike the paper\n- bottlenecks halve")
    assert text.index(PAPER) < text.index(KERAS)
    assert report("plain18") == (
        "plain18:\n\nunlike torchvision\n- momentum 0.9 weights the old statistics and "
        "equals torchvision's 0.1, which weights the new ones; the running variance "
        "here is the biased one, in torchvision the unbiased one"
    )
    assert report("plain20_cifar") == "plain20_cifar: no known differences"
