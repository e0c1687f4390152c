"""Where a network differs from its paper, from keras.applications and torchvision.

Every line has a key, by which the tests check it on the network and on its peers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras_resnet.catalogue import find_spec
from keras_resnet.families.alexnet import AlexNetSpec
from keras_resnet.families.densenet import DenseNetSpec
from keras_resnet.families.googlenet import GoogLeNetSpec
from keras_resnet.families.highway import HighwaySpec
from keras_resnet.families.lenet import LeNetSpec
from keras_resnet.families.resnet import ResNetSpec
from keras_resnet.families.resnext import ResNeXtSpec
from keras_resnet.families.spec import Spec
from keras_resnet.families.vgg import VGGSpec

PAPER, KERAS, TORCHVISION = "the paper", "keras.applications", "torchvision"


@dataclass(frozen=True)
class Deviation:
    """One difference.

    Attributes:
        key: Name of the check in the tests.
        peer: What the network is compared with.
        text: What is different, "here" being this network.
        applies: Whether a spec differs so.
    """

    key: str
    peer: str
    text: str
    applies: Callable[[Any], bool]


def deviations(name: str) -> list[Deviation]:
    """Returns the differences of the network called ``name``, paper first.

    Raises:
        UsageError: No network has that name.
    """
    spec = find_spec(name)
    return [row for row in DEVIATIONS if row.applies(spec)]


def report(name: str) -> str:
    """Returns the differences as text for people."""
    rows = deviations(name)
    lines = [f"{name}:"]
    for peer in (PAPER, KERAS, TORCHVISION):
        texts = [row.text for row in rows if row.peer == peer]
        if texts:
            lines += ["", f"unlike {peer}", *(f"- {text}" for text in texts)]
    return "\n".join(lines if rows else [f"{name}: no difference known"])


def _is(kind: type, **fields: Any) -> Callable[[Any], bool]:
    """Whether a spec is of exactly that kind and has these values."""
    return lambda spec: (
        type(spec) is kind
        and all(getattr(spec, name) == value for name, value in fields.items())
    )


def _large(spec: Spec) -> bool:
    return spec.input_shape[0] == 224


def _in_keras_v1(spec: Any) -> bool:
    return (
        _is(ResNetSpec, unit="bottleneck", order="original")(spec)
        and _large(spec)
        and sum(spec.depths) in (16, 33, 50)
    )


def _in_keras(spec: Any) -> bool:
    """Keras has this network, or one like it, with batch normalisation."""
    dense = type(spec) is DenseNetSpec and _large(spec) and spec.growth_rate == 32
    return dense or _in_keras_v1(spec) or _in_keras_v2(spec)


def _in_keras_v2(spec: Any) -> bool:
    return (
        _is(ResNetSpec, unit="bottleneck", order="full_preactivation")(spec)
        and _large(spec)
        and sum(spec.depths) in (16, 33, 50)
    )


def _bottleneck_v1(stride_at: str) -> Callable[[Any], bool]:
    row = _is(ResNetSpec, unit="bottleneck", order="original", stride_at=stride_at)
    return lambda spec: row(spec) and _large(spec)


def _v2(stem: str) -> Callable[[Any], bool]:
    return _is(ResNetSpec, order="full_preactivation", stem=stem)


def _he(spec: Any) -> bool:
    return type(spec) in (AlexNetSpec, VGGSpec, GoogLeNetSpec)


DEVIATIONS = (
    Deviation(
        "rbf",
        PAPER,
        "the last layer is linear and trained by softmax cross-entropy, not Euclidean "
        "radial basis functions of drawn digits (section II.B, eq. 9)",
        _is(LeNetSpec),
    ),
    Deviation(
        "lenet_subsampling",
        PAPER,
        "S2 and S4 average four pixels ahead of their coefficient, which is four times "
        "the one of the paper's sum: the same function",
        _is(LeNetSpec),
    ),
    Deviation(
        "lenet_initial",
        PAPER,
        "initial weights are normal of variance 1/fan-in, not uniform within "
        "±2.4/fan-in (appendix A)",
        _is(LeNetSpec),
    ),
    Deviation(
        "alexnet_padding",
        PAPER,
        "the first convolution pads 2 pixels, which the paper's 55×55 maps of a "
        "224-pixel image need and it does not mention",
        _is(AlexNetSpec),
    ),
    Deviation(
        "alexnet_towers",
        PAPER,
        "towers are groups of channels in one layer; response normalisation reaches "
        "over the border between them",
        _is(AlexNetSpec, towers=2),
    ),
    Deviation(
        "alexnet_one_tower",
        TORCHVISION,
        "it has one tower of other widths and no response normalisation; "
        "alexnet_one_tower is its network",
        _is(AlexNetSpec, towers=2),
    ),
    Deviation(
        "he_initial",
        PAPER,
        "initial weights are He et al.'s (2015) and biases 0, not normal of a fixed "
        "deviation",
        _he,
    ),
    Deviation(
        "vgg_norm",
        PAPER,
        "a batch normalisation follows each convolution, which keeps its bias as "
        "torchvision's does",
        _is(VGGSpec, normalised=True),
    ),
    Deviation(
        "vgg_dropout",
        KERAS,
        "dropout follows the hidden layers, as in the paper; Keras has none",
        _is(VGGSpec, normalised=False),
    ),
    Deviation(
        "fixed_head",
        TORCHVISION,
        "the hidden layers fit the input's size; torchvision pools any size to that of "
        "a 224-pixel image",
        lambda spec: type(spec) in (VGGSpec, AlexNetSpec),
    ),
    Deviation(
        "googlenet_response",
        PAPER,
        "the constants of the response normalisation are Caffe's; the paper has none",
        _is(GoogLeNetSpec),
    ),
    Deviation(
        "googlenet_5x5",
        TORCHVISION,
        "5×5 branches and response normalisation as in the paper; torchvision has 3×3 "
        "and batch normalisation",
        _is(GoogLeNetSpec),
    ),
    Deviation(
        "highway_norm",
        PAPER,
        "H is convolution, batch normalisation and ReLU, the layer of the plain CIFAR "
        "network; the paper, older than batch normalisation, has none",
        _is(HighwaySpec),
    ),
    Deviation(
        "stride_3x3",
        PAPER,
        "bottlenecks halve the size in the 3×3 convolution; the paper in the first 1×1",
        _bottleneck_v1("3x3"),
    ),
    Deviation(
        "v2_first",
        PAPER,
        "the paper does not say which convolution halves the size: it is the 3×3 of a "
        "stage's first unit, as in the authors' fb.resnet.torch",
        _v2("imagenet"),
    ),
    Deviation(
        "v2_keras",
        PAPER,
        "the last unit of a stage halves the size, and the stem is pooled ahead of the "
        "first normalisation, padded with zeros, and has a bias",
        _v2("pool_first"),
    ),
    Deviation(
        "option_a",
        PAPER,
        "option A appends the channels of zeros behind the others; the paper does not "
        "say where",
        _is(ResNetSpec, shortcut="A"),
    ),
    Deviation(
        "sd_initial",
        PAPER,
        "initial weights have the variance of the fan-out; in the authors' code that "
        "of the fan-in. The code's convolutions have biases, which the batch "
        "normalisation that follows takes out again",
        _is(ResNetSpec, shortcut="A_pooled"),
    ),
    Deviation(
        "keras_bias",
        KERAS,
        "no convolution has a bias ahead of a batch normalisation; Keras' have",
        lambda spec: _in_keras_v1(spec) or _in_keras_v2(spec),
    ),
    Deviation(
        "keras_v2",
        KERAS,
        "Keras halves the size in the last unit of a stage and pools ahead of the "
        "first normalisation; the _v2_keras networks are its own",
        lambda spec: _in_keras_v2(spec) and spec.stem == "imagenet",
    ),
    Deviation(
        "keras_epsilon",
        KERAS,
        "ε of the batch normalisation is 1e-5; Keras has 1.001e-5",
        _in_keras,
    ),
    Deviation(
        "keras_momentum",
        KERAS,
        "the statistics' momentum is 0.9; Keras has 0.99",
        _in_keras,
    ),
    Deviation(
        "keras_initial",
        KERAS,
        "initial weights are He et al.'s (2015); Keras has Glorot's",
        _in_keras,
    ),
    Deviation(
        "keras_pool",
        KERAS,
        "the stem's max-pool is padded with −∞; Keras pads zeros, which after a ReLU "
        "is the same",
        lambda spec: _in_keras(spec) and getattr(spec, "stem", "") == "imagenet",
    ),
    Deviation(
        "stride_1x1",
        TORCHVISION,
        "bottlenecks halve the size in the first 1×1 convolution, as in the paper; "
        "torchvision in the 3×3, as the _v1_5 networks do",
        _bottleneck_v1("1x1"),
    ),
    Deviation(
        "torchvision_momentum",
        TORCHVISION,
        "momentum 0.9 is torchvision's 0.1, which counts the new statistics; it "
        "averages the unbiased variance, this network the biased one",
        lambda spec: (
            (type(spec) in (ResNetSpec, ResNeXtSpec, DenseNetSpec) and _large(spec))
            or _is(VGGSpec, normalised=True)(spec)
        ),
    ),
)
