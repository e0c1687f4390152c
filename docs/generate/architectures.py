"""Prints docs/architectures.md: the size and the source of every network.

``python docs/generate/architectures.py NETWORK...`` prints the rows of some networks.
"""

from dataclasses import dataclass
from typing import Annotated

import tyro

from keras_resnet import command
from keras_resnet.errors import UsageError


@dataclass(frozen=True)
class Source:
    """Values that a paper reports for its network.

    Attributes:
        paper: Author, year and table.
        params: Parameters as printed, such as ``"25.6M"``; empty if not printed.
        macs: Multiply-accumulates as printed; the papers call them FLOPs.
        error: Top-1 test error in percent as printed, with its data set.
    """

    paper: str
    params: str = ""
    macs: str = ""
    error: str = ""


_LENET = "LeCun et al., 1998"
_ALEX = "Krizhevsky et al., 2012"
_VGG = "Simonyan & Zisserman, 2015, tables 2 and 3"
_GOOGLE = "Szegedy et al., 2015, table 1"
_HIGHWAY = "Srivastava et al., 2015 (layer)"
_V1 = "He et al., CVPR 2016, tables 1 and 3 (10-crop)"
_V1_SMALL = "He et al., CVPR 2016, tables 1 and 2 (10-crop)"
_CIFAR = "He et al., CVPR 2016, table 6"
_V2 = "He et al., ECCV 2016"
_SD = "Huang et al., ECCV 2016, table 1"
_SD_1202 = "Huang et al., ECCV 2016, section 4"
_NEXT = "Xie et al., 2017"
_DENSE = "Huang et al., CVPR 2017"

SOURCES = {
    "lenet5": Source(_LENET, "60,000 (without the output)", "", "0.95 MNIST"),
    "alexnet": Source(_ALEX, "60M", "", "40.7 ImageNet val, one network"),
    "alexnet_one_tower": Source("Krizhevsky, 2014; torchvision", "61,100,840"),
    "vgg11": Source(_VGG, "133M", "", "29.6 ImageNet val"),
    "vgg13": Source(_VGG, "133M", "", "28.7 ImageNet val"),
    "vgg16": Source(_VGG, "138M", "", "27.0 ImageNet val"),
    "vgg19": Source(_VGG, "144M", "", "27.3 ImageNet val"),
    **{f"vgg{d}_bn": Source("torchvision") for d in (11, 13, 16, 19)},
    "googlenet": Source(_GOOGLE, "6.8M", "1.5G", "10.07 ImageNet val, top-5"),
    **{f"highway{d}_cifar": Source(_HIGHWAY) for d in (20, 32, 56, 110)},
    "plain18": Source(_V1_SMALL, "", "1.8G", "27.94 ImageNet val"),
    "plain34": Source(_V1_SMALL, "", "3.6G", "28.54 ImageNet val"),
    **{f"plain{d}_cifar": Source(_CIFAR) for d in (20, 32, 44, 56, 110)},
    "resnet18": Source(_V1_SMALL, "", "1.8G", "27.88 ImageNet val (A)"),
    "resnet34": Source(_V1, "", "3.6G", "24.52 ImageNet val (B)"),
    "resnet50": Source(_V1, "", "3.8G", "22.85 ImageNet val"),
    "resnet101": Source(_V1, "", "7.6G", "21.75 ImageNet val"),
    "resnet152": Source(_V1, "", "11.3G", "21.43 ImageNet val"),
    **{
        f"resnet{d}_v1_5": Source("fb.resnet.torch; torchvision")
        for d in (50, 101, 152)
    },
    **{f"resnet{d}_v2": Source(_V2) for d in (50, 101)},
    "resnet152_v2": Source(f"{_V2}, table 5", "", "", "21.1 ImageNet val, 320 pixels"),
    "resnet200_v2": Source(f"{_V2}, table 5", "", "", "20.7 ImageNet val, 320 pixels"),
    **{f"resnet{d}_v2_keras": Source("keras.applications") for d in (50, 101, 152)},
    "resnet20_cifar": Source(_CIFAR, "0.27M", "", "8.75 CIFAR-10"),
    "resnet32_cifar": Source(_CIFAR, "0.46M", "", "7.51 CIFAR-10"),
    "resnet44_cifar": Source(_CIFAR, "0.66M", "", "7.17 CIFAR-10"),
    "resnet56_cifar": Source(_CIFAR, "0.85M", "", "6.97 CIFAR-10"),
    "resnet110_cifar": Source(_CIFAR, "1.7M", "", "6.43 CIFAR-10"),
    "resnet1202_cifar": Source(_CIFAR, "19.4M", "", "7.93 CIFAR-10"),
    "resnet164_cifar": Source(f"{_V2}, table 3", "", "", "5.93 CIFAR-10"),
    "resnet110_v2_cifar": Source(f"{_V2}, table 3", "", "", "6.37 CIFAR-10"),
    "resnet164_v2_cifar": Source(f"{_V2}, table 4", "1.7M", "", "5.46 CIFAR-10"),
    "resnet1001_v2_cifar": Source(f"{_V2}, table 4", "10.2M", "", "4.92 CIFAR-10"),
    "resnet110_sd_cifar": Source(_SD, "1.7M", "", "5.25 CIFAR-10"),
    "resnet1202_sd_cifar": Source(_SD_1202, "19.4M", "", "4.91 CIFAR-10"),
    "resnext50_32x4d": Source(
        f"{_NEXT}, tables 1 and 3", "25.0M", "4.2G", "22.2 ImageNet val"
    ),
    "resnext101_32x4d": Source(f"{_NEXT}, table 3", "", "", "21.2 ImageNet val"),
    "resnext101_64x4d": Source(f"{_NEXT}, table 4", "", "", "20.4 ImageNet val"),
    "resnext101_32x8d": Source("Mahajan et al., 2018; torchvision", "88M", "16G"),
    "resnext29_8x64d_cifar": Source(f"{_NEXT}, table 7", "34.4M", "", "3.65 CIFAR-10"),
    "resnext29_16x64d_cifar": Source(f"{_NEXT}, table 7", "68.1M", "", "3.58 CIFAR-10"),
    "densenet121": Source(f"{_DENSE}, tables 1 and 3", "", "", "25.02 ImageNet val"),
    "densenet169": Source(f"{_DENSE}, tables 1 and 3", "", "", "23.80 ImageNet val"),
    "densenet201": Source(f"{_DENSE}, tables 1 and 3", "", "", "22.58 ImageNet val"),
    "densenet161": Source(f"{_DENSE}, tables 1 and 3", "", "", "22.33 ImageNet val"),
    "densenet40_k12_cifar": Source(f"{_DENSE}, table 2", "1.0M", "", "5.24 CIFAR-10"),
    "densenet100_k12_cifar": Source(f"{_DENSE}, table 2", "7.0M", "", "4.10 CIFAR-10"),
    "densenet100_k24_cifar": Source(f"{_DENSE}, table 2", "27.2M", "", "3.74 CIFAR-10"),
    "densenetbc100_k12_cifar": Source(
        f"{_DENSE}, table 2", "0.8M", "", "4.51 CIFAR-10"
    ),
    "densenetbc250_k24_cifar": Source(
        f"{_DENSE}, table 2", "15.3M", "", "3.62 CIFAR-10"
    ),
    "densenetbc190_k40_cifar": Source(
        f"{_DENSE}, table 2", "25.6M", "", "3.46 CIFAR-10"
    ),
}

HEAD = """# Architectures

`python docs/generate/architectures.py` generates this page from the networks.
Parameters are the trainable ones. Multiply-accumulates (MACs) are those of convolutions
and dense layers for one image; the papers call them FLOPs. Errors are the papers' top-1
test errors in percent and were not measured here. The sources'
titles are [references](papers.md#references).

| network | input | parameters | MACs | printed: parameters, MACs | error | source |
|---|---|---|---|---|---|---|"""

NOTES = """
These printed numbers differ from the counted ones or belong to another network:

- `googlenet`, 6.8M: the table's column is in units of 2¹⁰ and adds up to 6.96M. It
  gives 2.7K for the first convolution, whose 7×7 filters have 9.2K, and 463K, 580K,
  1,072K and 1,388K for the modules 4c, 4d, 5a and 5b, whose filters have 499K, 592K,
  1,019K and 1,410K.
- `resnet18`, 27.88 %: for shortcut option A; this network has B, like the deeper ones.
- `resnet1001_v2_cifar`, 10.2M: its convolutions and classifier have 10,178,490; the
  batch normalisations have 149,216 more.

For structural differences, run `python -m keras_resnet deviations NAME`."""


def architectures() -> str:
    """Returns the page; it builds every network without its weights."""
    from keras_resnet.catalogue import MODELS

    return "\n".join([HEAD, *(row(name) for name in MODELS), NOTES])


def row(name: str) -> str:
    """Returns one network's row of the table."""
    from keras_resnet.catalogue import find_spec
    from keras_resnet.describe import network_cost

    spec = find_spec(name)
    if (source := SOURCES.get(name)) is None:
        raise UsageError(f"{name} must have a source, got none; add it to SOURCES")
    cost = network_cost(name, (), spec.input_shape, spec.classes)
    counted = f"{cost.params:,} | {cost.macs:,}"
    size = "×".join(map(str, spec.input_shape))
    printed = ", ".join(filter(None, (source.params, source.macs)))
    cells = (f"`{name}`", size, counted, printed, source.error, source.paper)
    return f"| {' | '.join(cells)} |"


@dataclass(frozen=True)
class Options:
    """Print docs/architectures.md, or the rows of some networks."""

    networks: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="NETWORK...")
    ] = ()
    """Names of networks; if omitted, the whole page."""


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python docs/generate/architectures.py")
    command.load_backend()
    print("\n".join(map(row, options.networks)) or architectures())


if __name__ == "__main__":
    command.run(main)
