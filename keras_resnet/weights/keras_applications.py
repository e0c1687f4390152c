"""Loads weights of keras.applications' networks."""

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
KERAS_EPSILON = 1.001e-5  # in all its batch normalisations


def load_keras_applications(model: keras.Model, reference: keras.Model) -> None:
    """Loads the weights of a keras.applications network; logits are equal after.

    Supported: ResNet50, 101 and 152 into ``resnet50`` …; their V2 into
    ``resnet50_v2_keras`` …, which stride and pool where Keras' do; DenseNet121, 169 and
    201; VGG16 and 19. Biases of Keras' convolutions are folded into the means of the
    batch normalisations that follow, and their ε, 1.001e-5, into the variances.

    Args:
        model: A network created by ``create_model``.
        reference: The network of keras.applications, with or without its top. Create it
            with ``classifier_activation=None`` to compare logits.

    Raises:
        UsageError: keras.applications lacks the network (the message says why), or
            names, shapes or functions differ.
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
    """Loads the weights of a keras.applications network from its arrays.

    Args:
        model: A network created by ``create_model``.
        reference: Arrays by the names of Keras' layers and variables.
        source: The origin of the arrays, for messages.
        epsilons: ε of each batch normalisation; None means keras.applications' value.

    Raises:
        UsageError: As in ``load_keras_applications``.
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
    """Checks whether layers of these names belong to a keras.applications network."""
    return not {"conv1_conv", "block1_conv1"}.isdisjoint(layers)


def _rules(model: keras.Model) -> tuple[Rule, ...]:
    names = {layer.name for layer in leaf_layers(model)}
    if "transition1_conv" in names:
        return KERAS_DENSENET
    if "fc1" in names:
        return KERAS_VGG
    return KERAS_RESNET


def _require_same_places(model: keras.Model, theirs: set[str], source: str) -> None:
    """Raises UsageError if the reference strides, pools or activates elsewhere."""
    ours = {layer.name: layer for layer in leaf_layers(model)}
    reason = None
    if "post_bn" in theirs and "stem_pool_pad" not in ours:
        reason = (
            "its V2 halves the size in a stage's last unit and pools before the first "
            "normalisation, unlike the paper; load it into 'resnet50_v2_keras' or the "
            "same network with 101 or 152 layers"
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
            f"{source} of keras.applications must match {model.name}: {reason}"
        )


def _fold_biases(values: Arrays, wanted: Mapping[str, object]) -> None:
    """Subtracts biases that our convolutions lack from the means that follow.

    A normalisation's mean of ``x + b`` is the mean of x plus b. In a pre-activation
    network the residual stream carries b up to the next projection, and every
    normalisation that reads the stream includes it.
    """
    for name in list(values):
        layer, kind = name.split("/")
        if kind != "bias" or name in wanted or layer == HEAD:
            continue
        bias = values.pop(name)
        for mean in _readers(layer, values):
            if mean.shape == bias.shape:  # assign reports other shapes
                np.subtract(mean, bias, out=mean)


def _readers(layer: str, values: Arrays) -> list[np.ndarray]:
    """Returns the moving means of the normalisations that ``layer``'s bias shifts."""
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
