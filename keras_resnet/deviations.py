"""Lists how networks differ from their papers, keras.applications and torchvision.

The key of every line identifies the test that checks it on the network and its peers.
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
        peer: The paper or library that the network is compared with.
        text: The difference, as a statement about this network.
        applies: Returns whether the difference applies to a spec.
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
    """Returns the differences as readable text."""
    rows = deviations(name)
    lines = [f"{name}:"]
    for peer in (PAPER, KERAS, TORCHVISION):
        texts = [row.text for row in rows if row.peer == peer]
        if texts:
            lines += ["", f"unlike {peer}", *(f"- {text}" for text in texts)]
    return "\n".join(lines if rows else [f"{name}: no known differences"])


def _is(kind: type, **fields: Any) -> Callable[[Any], bool]:
    """Returns a check that a spec has exactly this type and these values."""
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
    """Checks whether Keras has this or a similar network with batch normalisation."""
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
        "S2 and S4 average four pixels instead of summing them; their coefficient is "
        "four times the paper's, so the function is the same",
        _is(LeNetSpec),
    ),
    Deviation(
        "lenet_initial",
        PAPER,
        "initial weights are normal with variance 1/fan-in, not uniform within "
        "±2.4/fan-in (appendix A)",
        _is(LeNetSpec),
    ),
    Deviation(
        "alexnet_padding",
        PAPER,
        "the first convolution pads 2 pixels; the paper does not mention padding, but "
        "its 55×55 maps of a 224-pixel image require it",
        _is(AlexNetSpec),
    ),
    Deviation(
        "alexnet_towers",
        PAPER,
        "towers are groups of channels in one layer; response normalisation crosses "
        "the border between them",
        _is(AlexNetSpec, towers=2),
    ),
    Deviation(
        "alexnet_one_tower",
        TORCHVISION,
        "torchvision has one tower of other widths and no response normalisation; "
        "alexnet_one_tower is that network",
        _is(AlexNetSpec, towers=2),
    ),
    Deviation(
        "he_initial",
        PAPER,
        "initial weights follow He et al. (2015) and biases are 0; the paper uses a "
        "normal distribution of fixed deviation",
        _he,
    ),
    Deviation(
        "vgg_norm",
        PAPER,
        "batch normalisation follows each convolution, which keeps its bias as in "
        "torchvision",
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
        "the hidden layers fit one input size; torchvision pools any size to that of "
        "a 224-pixel image",
        lambda spec: type(spec) in (VGGSpec, AlexNetSpec),
    ),
    Deviation(
        "googlenet_response",
        PAPER,
        "the constants of response normalisation are Caffe's; the paper states none",
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
        "H is convolution, batch normalisation and ReLU, as in the plain CIFAR "
        "network; the paper predates batch normalisation and has none",
        _is(HighwaySpec),
    ),
    Deviation(
        "stride_3x3",
        PAPER,
        "bottlenecks halve the size in the 3×3 convolution, not in the first 1×1",
        _bottleneck_v1("3x3"),
    ),
    Deviation(
        "v2_first",
        PAPER,
        "the 3×3 convolution of a stage's first unit halves the size, as in the "
        "authors' fb.resnet.torch; the paper does not say which one does",
        _v2("imagenet"),
    ),
    Deviation(
        "v2_keras",
        PAPER,
        "the last unit of a stage halves the size; the stem has a bias and is pooled, "
        "with zero padding, before the first normalisation",
        _v2("pool_first"),
    ),
    Deviation(
        "option_a",
        PAPER,
        "option A appends the zero channels after the others; the paper does not "
        "say where",
        _is(ResNetSpec, shortcut="A"),
    ),
    Deviation(
        "sd_initial",
        PAPER,
        "initial weights have the variance of the fan-out, in the authors' code that "
        "of the fan-in; the code's convolutions have biases, which the following batch "
        "normalisation cancels",
        _is(ResNetSpec, shortcut="A_pooled"),
    ),
    Deviation(
        "keras_bias",
        KERAS,
        "convolutions before a batch normalisation have no bias; in Keras they do",
        lambda spec: _in_keras_v1(spec) or _in_keras_v2(spec),
    ),
    Deviation(
        "keras_v2",
        KERAS,
        "Keras halves the size in the last unit of a stage and pools before the first "
        "normalisation; the _v2_keras networks do the same",
        lambda spec: _in_keras_v2(spec) and spec.stem == "imagenet",
    ),
    Deviation(
        "keras_epsilon",
        KERAS,
        "ε of batch normalisation is 1e-5; Keras has 1.001e-5",
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
        "initial weights follow He et al. (2015); in Keras they follow Glorot",
        _in_keras,
    ),
    Deviation(
        "keras_pool",
        KERAS,
        "the stem's max-pool is padded with −∞; Keras pads with zeros, which gives the "
        "same result after a ReLU",
        lambda spec: _in_keras(spec) and getattr(spec, "stem", "") == "imagenet",
    ),
    Deviation(
        "stride_1x1",
        TORCHVISION,
        "bottlenecks halve the size in the first 1×1 convolution, as in the paper; "
        "torchvision and the _v1_5 networks halve it in the 3×3",
        _bottleneck_v1("1x1"),
    ),
    Deviation(
        "torchvision_momentum",
        TORCHVISION,
        "momentum 0.9 is torchvision's 0.1, which is the weight of new statistics; "
        "torchvision averages the unbiased variance, this network the biased one",
        lambda spec: (
            (type(spec) in (ResNetSpec, ResNeXtSpec, DenseNetSpec) and _large(spec))
            or _is(VGGSpec, normalised=True)(spec)
        ),
    ),
)
