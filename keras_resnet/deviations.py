"""Lists how networks differ from their papers, keras.applications and torchvision.

The key of every line identifies the test that checks it on the network and its peers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from keras_resnet.catalogue import find_spec
from keras_resnet.families.alexnet import AlexNetSpec
from keras_resnet.families.densenet import DenseNetSpec
from keras_resnet.families.googlenet import GoogLeNetSpec
from keras_resnet.families.highway import HighwaySpec
from keras_resnet.families.lenet import LeNetSpec
from keras_resnet.families.resnet import ResNetSpec
from keras_resnet.families.resnext import ResNeXtSpec
from keras_resnet.families.vgg import VGGSpec

PAPER, KERAS, TORCHVISION = "the paper", "keras.applications", "torchvision"
Applies = Callable[[Any], bool]  # whether a difference applies to a spec


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
    applies: Applies


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


def _unlike(peer: str, applies: Applies, **texts: str) -> list[Deviation]:
    """Returns the differences, by key, of the specs to which ``applies`` applies."""
    return [Deviation(key, peer, text, applies) for key, text in texts.items()]


_unlike_paper = partial(_unlike, PAPER)
_unlike_keras = partial(_unlike, KERAS)
_unlike_torchvision = partial(_unlike, TORCHVISION)


def _is(*kinds: type, **fields: Any) -> Applies:
    """Returns a check that a spec has exactly one of the types and these values."""
    return lambda spec: (
        type(spec) in kinds
        and all(getattr(spec, name) == value for name, value in fields.items())
    )


def _any(*checks: Applies) -> Applies:
    return lambda spec: any(applies(spec) for applies in checks)


_V1 = {"unit": "bottleneck", "order": "original", "for_cifar": False}
_resnet_v1 = _is(ResNetSpec, **_V1)
_resnet_v2 = _is(ResNetSpec, order="full_preactivation", stem="imagenet")
_resnet_v2_keras = _is(ResNetSpec, order="full_preactivation", stem="pool_first")


def _in_keras_v2(spec: Any) -> bool:
    """Checks whether Keras has a v2 network of this size: it has none of 200 layers."""
    return _any(_resnet_v2, _resnet_v2_keras)(spec) and sum(spec.depths) <= 50


# Keras has these networks or similar ones, all with batch normalisation.
_in_keras = _any(
    _resnet_v1,
    _in_keras_v2,
    _is(DenseNetSpec, for_cifar=False, growth_rate=32),
)

DEVIATIONS = (
    *_unlike_paper(
        _is(LeNetSpec),
        rbf="the last layer is linear and trained by softmax cross-entropy, not "
        "Euclidean radial basis functions of drawn digits (section II.B, eq. 9)",
        lenet_subsampling="S2 and S4 average four pixels instead of summing them; "
        "their coefficient is four times the paper's, so the function is the same",
        lenet_initial="initial weights are normal with variance 1/fan-in, not uniform "
        "within ±2.4/fan-in (appendix A)",
    ),
    *_unlike_paper(
        _is(AlexNetSpec),
        alexnet_padding="the first convolution pads 2 pixels; the paper does not "
        "mention padding, but its 55×55 maps of a 224-pixel image require it",
    ),
    *_unlike_paper(
        _is(AlexNetSpec, towers=2),
        alexnet_towers="towers are groups of channels in one layer; response "
        "normalisation crosses the border between them",
    ),
    *_unlike_paper(
        _is(AlexNetSpec, VGGSpec, GoogLeNetSpec),
        he_initial="initial weights follow He et al. (ICCV 2015) and biases are 0; the "
        "paper uses a normal distribution of fixed deviation",
    ),
    *_unlike_paper(
        _is(VGGSpec, normalised=True),
        vgg_norm="batch normalisation follows each convolution, which keeps its bias "
        "as in torchvision",
    ),
    *_unlike_paper(
        _is(GoogLeNetSpec),
        googlenet_response="the constants of response normalisation are Caffe's; the "
        "paper states none",
    ),
    *_unlike_paper(
        _is(HighwaySpec),
        highway_norm="H is convolution, batch normalisation and ReLU, as in the plain "
        "CIFAR network; the paper predates batch normalisation and has none",
    ),
    *_unlike_paper(
        _is(ResNetSpec, **_V1, stride_at="3x3"),
        stride_3x3="bottlenecks halve the size in the 3×3 convolution, not in the "
        "first 1×1",
    ),
    *_unlike_paper(
        _resnet_v2,
        v2_first="the 3×3 convolution of a stage's first unit halves the size, as in "
        "the authors' fb.resnet.torch; the paper does not say which one does",
    ),
    *_unlike_paper(
        _resnet_v2_keras,
        v2_keras="the last unit of a stage halves the size; the stem has a bias and is "
        "pooled, with zero padding, before the first normalisation",
    ),
    *_unlike_paper(
        _is(ResNetSpec, shortcut="A"),
        option_a="option A appends the zero channels after the others; the paper does "
        "not say where",
    ),
    *_unlike_paper(
        _is(ResNetSpec, shortcut="A_pooled"),
        sd_initial="initial weights have the variance of the fan-out, in the authors' "
        "code that of the fan-in; the code's convolutions have biases, which the "
        "following batch normalisation cancels",
    ),
    *_unlike_keras(
        _is(VGGSpec, normalised=False),
        vgg_dropout="dropout follows the hidden layers, as in the paper; Keras has "
        "none",
    ),
    *_unlike_keras(
        _any(_resnet_v1, _in_keras_v2),
        keras_bias="convolutions before a batch normalisation have no bias; in Keras "
        "they do",
    ),
    *_unlike_keras(
        lambda spec: _in_keras_v2(spec) and _resnet_v2(spec),
        keras_v2="Keras halves the size in the last unit of a stage and pools before "
        "the first normalisation; the _v2_keras networks do the same",
    ),
    *_unlike_keras(
        _in_keras,
        keras_epsilon="ε of batch normalisation is 1e-5; Keras has 1.001e-5",
        keras_momentum="the statistics' momentum is 0.9; Keras has 0.99",
        keras_initial="initial weights follow He et al. (ICCV 2015); in Keras they "
        "follow Glorot",
    ),
    *_unlike_keras(
        lambda spec: _in_keras(spec) and spec.stem == "imagenet",
        keras_pool="the stem's max-pool is padded with −∞; Keras pads with zeros, "
        "which gives the same result after a ReLU",
    ),
    *_unlike_torchvision(
        _is(AlexNetSpec, towers=2),
        alexnet_one_tower="torchvision has one tower of other widths and no response "
        "normalisation; alexnet_one_tower is that network",
    ),
    *_unlike_torchvision(
        _is(VGGSpec, AlexNetSpec),
        fixed_head="the hidden layers fit one input size; torchvision pools any size "
        "to that of a 224-pixel image",
    ),
    *_unlike_torchvision(
        _is(GoogLeNetSpec),
        googlenet_5x5="5×5 branches and response normalisation as in the paper; "
        "torchvision has 3×3 and batch normalisation",
    ),
    *_unlike_torchvision(
        _is(ResNetSpec, **_V1, stride_at="1x1"),
        stride_1x1="bottlenecks halve the size in the first 1×1 convolution, as in the "
        "paper; torchvision and the _v1_5 networks halve it in the 3×3",
    ),
    *_unlike_torchvision(
        _any(
            _is(ResNetSpec, ResNeXtSpec, DenseNetSpec, for_cifar=False),
            _is(VGGSpec, normalised=True),
        ),
        torchvision_momentum="momentum 0.9 weights the old statistics and equals "
        "torchvision's 0.1, which weights the new ones; the running variance here is "
        "the biased one, in torchvision the unbiased one",
    ),
)
