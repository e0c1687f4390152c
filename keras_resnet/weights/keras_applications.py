"""Weights of keras.applications' networks."""

import re
from collections.abc import Iterable, Mapping

import keras
import numpy as np

from keras_resnet.errors import UsageError
from keras_resnet.families.ops import BN_EPSILON
from keras_resnet.layer_names import HEAD
from keras_resnet.layers import leaf_layers
from keras_resnet.weights.assign import assign, weights_of
from keras_resnet.weights.function import peer_function
from keras_resnet.weights.names import (
    KERAS_DENSENET,
    KERAS_RESNET,
    KERAS_VGG,
    Rule,
    renamed,
)

Arrays = dict[str, np.ndarray]
KERAS_EPSILON = 1.001e-5  # of all batch normalisations there


def load_keras_applications(model: keras.Model, reference: keras.Model) -> None:
    """Takes over the weights of a keras.applications network: equal logits after.

    Supported: ResNet50, 101 and 152 into ``resnet50`` …; their V2 into
    ``resnet50_v2_keras`` …, which strides and pools where Keras' does; DenseNet121, 169
    and 201; VGG16 and 19. Biases of Keras' convolutions go into the means of the batch
    normalisations that follow, and their ε, 1.001e-5, into the variances.

    Args:
        model: A network made by ``create_model``.
        reference: The network of keras.applications, with or without its top. Give it
            ``classifier_activation=None`` to compare logits.

    Raises:
        UsageError: The network is not theirs, saying why, or names, shapes or the
            function differ.
    """
    values = {
        f"{layer.name}/{variable.name}": np.array(variable)
        for layer in reference.layers
        for variable in layer.weights
    }
    epsilons = {
        layer.name: layer.epsilon
        for layer in reference.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    load_arrays(model, values, reference.name, epsilons)


def load_arrays(
    model: keras.Model,
    reference: Arrays,
    source: str,
    epsilons: Mapping[str, float] | None = None,
) -> None:
    """Takes over the weights of a keras.applications network from its arrays.

    Args:
        model: A network made by ``create_model``.
        reference: Arrays by the names of Keras' layers and variables.
        source: Where they come from, for messages.
        epsilons: ε of each batch normalisation; None: keras.applications' own.

    Raises:
        UsageError: As ``load_keras_applications``.
    """
    theirs = {name.partition("/")[0] for name in reference}
    _require_same_places(model, theirs, source)
    rules = _rules(model)
    ours = {renamed(layer.name, rules): layer.name for layer in leaf_layers(model)}
    ours.setdefault("predictions", HEAD)
    values = {}
    for name, value in reference.items():
        layer, kind = name.split("/")
        if kind == "moving_variance":
            epsilon = KERAS_EPSILON if epsilons is None else epsilons[layer]
            values[f"{ours.get(layer, layer)}/{kind}"] = value + (epsilon - BN_EPSILON)
        else:
            values[f"{ours.get(layer, layer)}/{kind}"] = np.array(value)
    _fold_biases(values, weights_of(model))
    resnet = "resnet50_v2_keras" if "post_bn" in theirs else "resnet50"
    assign(model, values, source, peer_function(model, resnet))


def is_theirs(layers: Iterable[str]) -> bool:
    """Whether layers of these names are a network's of keras.applications."""
    return not {"conv1_conv", "block1_conv1"}.isdisjoint(layers)


def _rules(model: keras.Model) -> tuple[Rule, ...]:
    names = {layer.name for layer in leaf_layers(model)}
    if "transition1_conv" in names:
        return KERAS_DENSENET
    if "fc1" in names:
        return KERAS_VGG
    return KERAS_RESNET


def _require_same_places(model: keras.Model, theirs: set[str], source: str) -> None:
    """Says where to load a network that strides, pools or activates elsewhere."""
    ours = {layer.name: layer for layer in leaf_layers(model)}
    reason = None
    if "post_bn" in theirs and "stem_pool_pad" not in ours:
        reason = (
            "its V2 halves the size in a stage's last unit and pools ahead of the "
            "first normalisation, unlike the paper; load it into 'resnet50_v2_keras' "
            "or its like of 101 or 152 layers"
        )
    elif "conv1_conv" in theirs and "stage2_block1_conv1" in ours:
        bottleneck, first = "stage1_block1_conv3" in ours, ours["stage2_block1_conv1"]
        if "post_bn" not in theirs and not (bottleneck and first.strides[0] == 2):
            reason = (
                "its bottlenecks halve the size in the first 1×1 convolution, as in "
                "the paper; load it into 'resnet50', 'resnet101' or 'resnet152'"
            )
    if reason:
        raise UsageError(
            f"{source} of keras.applications must be the network {model.name}: {reason}"
        )


def _fold_biases(values: Arrays, wanted: Mapping[str, object]) -> None:
    """Takes biases that our convolutions lack out of the means of what follows.

    A normalisation's mean of ``x + b`` is that of x plus b. In a pre-activation
    network b goes along with the residual stream up to the next projection, and every
    normalisation that reads the stream sees it.
    """
    for name in list(values):
        layer, kind = name.split("/")
        if kind != "bias" or name in wanted or layer == HEAD:
            continue
        bias = values.pop(name)
        for mean in _readers(layer, values):
            if mean.shape == bias.shape:  # not of another network, told later
                np.subtract(mean, bias, out=mean)


def _readers(layer: str, values: Arrays) -> list[np.ndarray]:
    """Moving means of the normalisations whose input has a bias of ``layer`` in it."""
    own = layer.replace("conv", "norm") if "conv" in layer else f"{layer}_norm"
    if f"{own}/moving_mean" in values:
        return [values[f"{own}/moving_mean"]]
    unit = re.match(r"stage(\d+)_block(\d+)_", layer)
    if not unit:
        return []
    stage, block = int(unit[1]), int(unit[2])
    later = [f"stage{stage}_block{n}_pre_norm" for n in range(block + 1, len(values))]
    following = f"stage{stage + 1}_block1_pre_norm"
    if f"{following}/moving_mean" not in values:
        following = "final_norm"
    names = (f"{name}/moving_mean" for name in (*later, following))
    return [values[name] for name in names if name in values]
