"""Provides layers that Keras lacks, or that are faster or more exact than its own."""

from keras_resnet.layers.grouped_conv import GroupedConv2D
from keras_resnet.layers.local_response import LocalResponseNormalization
from keras_resnet.layers.nested import Nested, branch_model, leaf_layers
from keras_resnet.layers.normalization import (
    BatchNormalization,
    moving_statistics,
    synchronized,
    unchecked,
)
from keras_resnet.layers.pointwise import gradients_by_products
from keras_resnet.layers.pooling import MaxPooling2D
from keras_resnet.layers.recomputed import Recomputed
from keras_resnet.layers.shortcut import ZeroPaddedShortcut
from keras_resnet.layers.stochastic_depth import DROP_MODES, StochasticDepth
from keras_resnet.layers.table_conv import TableConv2D

__all__ = [
    "DROP_MODES",
    "BatchNormalization",
    "GroupedConv2D",
    "LocalResponseNormalization",
    "MaxPooling2D",
    "Nested",
    "Recomputed",
    "StochasticDepth",
    "TableConv2D",
    "ZeroPaddedShortcut",
    "branch_model",
    "gradients_by_products",
    "leaf_layers",
    "moving_statistics",
    "synchronized",
    "unchecked",
]
