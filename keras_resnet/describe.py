"""Describes a network: its feature-map sizes, parameters and operations."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from math import prod
from typing import Any

import keras
from keras.layers import Layer

from keras_resnet.catalogue import build_model
from keras_resnet.families.branch import FORMS
from keras_resnet.keras_internals import unallocated
from keras_resnet.layer_names import UNIT
from keras_resnet.layers import Nested, leaf_layers


@dataclass(frozen=True)
class Stage:
    """One row of the walk: consecutive layers with the same first part of the name.

    Attributes:
        name: ``stem``, ``stem_pool``, ``stage1``, …, ``logits``.
        output: Output shape without the batch axis.
        units: Number of units (blocks), 1 for a stage without units.
        unit: The convolutions, pooling and dense layers of the first unit.
        params: Number of trainable parameters.
        macs: Multiply-accumulates for one image; None if the size is not fixed.
    """

    name: str
    output: tuple[int | None, ...]
    units: int
    unit: str
    params: int
    macs: int | None


def count_params(model: Layer) -> int:
    """Returns the number of trainable parameters of a model or layer."""
    return sum(prod(v.shape) for v in model.trainable_variables)


def count_macs(model: keras.Model) -> int:
    """Returns the multiply-accumulates of ``model`` for one image.

    The count includes convolutions and dense layers, but not biases, normalisation,
    activations and pooling. The papers call a multiply-accumulate a FLOP.

    Raises:
        ValueError: A feature-map size is not fixed (None), or it is unknown because a
            subclass of ``keras.Model`` convolves outside of a functional model.
    """
    counts = [layer_macs(layer) for layer in leaf_layers(model)]
    if None in counts:
        raise ValueError(
            "multiply-accumulates need a fixed input size, got "
            f"{getattr(model, 'input_shape', None)}"
        )
    return sum(count for count in counts if count)


@dataclass(frozen=True)
class Cost:
    """Cost of a network.

    Attributes:
        params: Number of trainable parameters.
        macs: Multiply-accumulates per image.
    """

    params: int
    macs: int


@lru_cache(maxsize=4096)
def network_cost(
    model: str,
    spec: tuple[tuple[str, Any], ...],
    shape: tuple[int, int, int],
    classes: int,
) -> Cost:
    """Returns the cost of a network without allocating its weights.

    Args:
        model: Name of the network.
        spec: Changed fields of its spec, with their values.
        shape: Shape of an image, ``(H, W, C)``.
        classes: Number of classes.

    Raises:
        UsageError: The network is invalid.
    """
    fields = dict(spec)
    if fields.get("form") in FORMS:
        # All forms cost the same, but A and B have a layer for each path.
        fields["form"] = "C"
    with unallocated():
        network = build_model(model, input_shape=shape, classes=classes, **fields)
        return Cost(count_params(network), count_macs(network))


def layer_macs(layer: Layer) -> int | None:
    """Returns one layer's multiply-accumulates per image; None if size is not fixed."""
    if not isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
        return 0
    output = getattr(layer, "output", None)  # missing outside of functional models
    if output is None and isinstance(layer, keras.layers.Conv2D):
        return None
    positions = () if output is None else output.shape[1:-1]
    if output is not None and getattr(layer, "data_format", "") == "channels_first":
        positions = output.shape[2:]
    return None if None in positions else prod((*positions, *layer.kernel.shape))


def layer_label(layer: Layer) -> str:
    """Describes a convolution, pooling or dense layer, e.g. ``3×3 64/2``."""
    place = " shortcut" if "shortcut" in layer.name else ""
    if isinstance(layer, keras.layers.Conv2D):
        kernel = "×".join(map(str, layer.kernel_size))
        stride = f"/{layer.strides[0]}" if layer.strides[0] > 1 else ""
        groups = f" ({layer.groups} groups)" if layer.groups > 1 else ""
        return f"{kernel} {layer.filters}{stride}{groups}{place}"
    if isinstance(layer, keras.layers.MaxPooling2D | keras.layers.AveragePooling2D):
        kind = "max" if isinstance(layer, keras.layers.MaxPooling2D) else "average"
        side, width = layer.pool_size
        return f"{kind}-pool {side}×{width}/{layer.strides[0]}{place}"
    if isinstance(layer, keras.layers.GlobalAveragePooling2D):
        return "average"
    if isinstance(layer, keras.layers.Dense):
        return f"dense {layer.units}"
    return ""


def format_shape(shape: tuple[int | None, ...]) -> str:
    """Formats a shape for display, e.g. ``56×56×64``."""
    return "×".join("?" if side is None else str(side) for side in shape)


def walk(model: keras.Model) -> list[Stage]:
    """Returns the feature-map sizes in order, as in table 1 of the ResNet paper."""
    layers = [
        x for x in leaf_layers(model) if not isinstance(x, keras.layers.InputLayer)
    ]
    stages = []
    for name, group in groupby(layers, key=_stage):
        members = list(group)
        own = [layer for layer in members if not isinstance(layer, Nested)]
        macs = [layer_macs(layer) for layer in own]
        units = list(dict.fromkeys(_unit(layer) for layer in members))
        labels = (layer_label(x) for x in members if _unit(x) == units[0])
        stages.append(
            Stage(
                name=name,
                output=tuple(members[-1].output.shape[1:]),
                units=len(units),
                unit=", ".join(filter(None, labels)),
                params=sum(map(count_params, own)),
                macs=None if None in macs else sum(m for m in macs if m),
            )
        )
    return stages


def describe(model: keras.Model) -> str:
    """Returns the walk as a readable table with totals."""
    rows = [("stage", "output", "units", "", "parameters", "MACs")]
    rows += [
        (
            stage.name,
            format_shape(stage.output),
            f"{stage.units} ×" if stage.units > 1 else "",
            stage.unit,
            f"{stage.params:,}",
            "?" if stage.macs is None else f"{stage.macs:,}",
        )
        for stage in walk(model)
    ]
    macs = "?" if "?" in (row[-1] for row in rows) else f"{count_macs(model):,}"
    rows.append(("total", "", "", "", f"{count_params(model):,}", macs))
    shape, outputs = format_shape(model.input_shape[1:]), model.output_shape[-1]
    title = f"{model.name}: {shape} → {outputs}"
    return "\n".join([title, "", *align(rows, "<<<<>>")])


def align(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Returns the rows of a table as lines with aligned columns.

    Args:
        rows: The cells of each row.
        sides: ``<`` (left) or ``>`` (right, for numbers) for each column.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        columns = zip(row, sides, widths, strict=True)
        lines.append("  ".join(f"{x:{side}{w}}" for x, side, w in columns).rstrip())
    return lines


def _stage(layer: Layer) -> str:
    """Returns the row of the walk for a layer; max-pooling has its own row."""
    if isinstance(layer, keras.layers.MaxPooling2D):
        return str(layer.name)
    return str(layer.name.split("_")[0])


def _unit(layer: Layer) -> str:
    """Returns the unit in a layer's name, e.g. ``stage1_block2``, or an empty text."""
    unit = UNIT.match(layer.name)
    return unit[0] if unit else ""
