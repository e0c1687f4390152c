"""Describes a network as the sequence of its feature maps."""

import re
from dataclasses import dataclass
from itertools import groupby

import keras
from keras.layers import Layer

from keras_resnet.describe import format_shape, layer_label
from keras_resnet.layer_names import PART, VGG_LAYER, unit_of
from keras_resnet.layers import ZeroPaddedShortcut, leaf_layers

SHOWN = 6  # maximum number of volumes drawn per stage


@dataclass(frozen=True)
class Volume:
    """The output of a layer or unit.

    Attributes:
        name: Name of the unit or layer.
        shape: ``(H, W, C)`` or ``(units,)``.
        layers: Its operations, e.g. ``("3×3 64/2", "3×3 64")``.
        shortcut: ``"identity"``, ``"zero-padded"``, ``"projection"``, ``"dense"``, or
            empty without a shortcut.
    """

    name: str
    shape: tuple[int | None, ...]
    layers: tuple[str, ...]
    shortcut: str = ""


@dataclass(frozen=True)
class Group:
    """The volumes of a stage.

    Attributes:
        name: Name of the stage.
        count: Number of volumes.
        first: The first volume, which may have a stride.
        last: The last volume.
        shown: The volumes to draw; None replaces the omitted ones.
    """

    name: str
    count: int
    first: Volume
    last: Volume
    shown: tuple[Volume | None, ...]


def volumes(model: keras.Model) -> list[Volume]:
    """Returns a network's volumes, the image first."""
    parts: dict[str, list[Layer]] = {}
    for layer in leaf_layers(model):
        if not isinstance(layer, keras.layers.InputLayer):
            parts.setdefault(_part(layer.name), []).append(layer)
    found = [Volume("image", tuple(model.input_shape[1:]), ())]
    for name, members in parts.items():
        main = _labels(name, members)
        if main or PART.fullmatch(name):
            shape = tuple(members[-1].output.shape[1:])
            found.append(Volume(name, shape, main, _shortcut(name, members)))
    return found


def groups(found: list[Volume]) -> list[Group]:
    """Groups the volumes by stage and omits the middle of long stages."""
    joined = []
    for name, members in groupby(found, key=_stage):
        stage = tuple(members)
        shown: tuple[Volume | None, ...] = stage
        if len(stage) > SHOWN:
            shown = (*stage[: SHOWN - 2], None, stage[-1])
        joined.append(Group(name, len(stage), stage[0], stage[-1], shown))
    return joined


def text(name: str, found: list[Volume]) -> str:
    """Describes the figure of a network."""
    parts = []
    for group in groups(found):
        times = f"{group.count} × " if group.count > 1 else ""
        layers = ", ".join(group.first.layers)
        made_of = f" ({times}{layers})" if layers else ""
        parts.append(f"{group.name} {format_shape(group.last.shape)}{made_of}")
    kinds = sorted({v.shortcut for v in found if v.shortcut})
    around = f" Shortcuts: {', '.join(kinds)}." if kinds else ""
    return f"Feature maps of {name}: {' → '.join(parts)}.{around}"


def _part(name: str) -> str:
    part = PART.match(name)
    return part[0] if part else unit_of(name) or name


def _stage(volume: Volume) -> str:
    if "_pool" in volume.name or not PART.match(volume.name):
        vgg = VGG_LAYER.fullmatch(volume.name)
        return vgg[1] if vgg else volume.name
    return re.sub(r"_.*|[a-z]$", "", volume.name)


def _labels(name: str, members: list[Layer]) -> tuple[str, ...]:
    """Returns the operations of a volume; for an inception module, its four paths."""
    labels = {
        layer.name.removeprefix(f"{name}_"): layer_label(layer)
        for layer in members
        if layer_label(layer) and "_shortcut" not in layer.name
    }
    if not name.startswith("inception"):
        return tuple(labels.values())
    paths: dict[str, list[str]] = {}
    for part, label in labels.items():
        paths.setdefault(part.split("_")[0], []).append(label)
    return tuple(" → ".join(paths[part]) for part in sorted(paths))


def _shortcut(name: str, members: list[Layer]) -> str:
    around = {x.name: x for x in members}
    if "_layer" in name:
        return "dense"
    if f"{name}_add" not in around:
        return ""
    reshaping = around.get(f"{name}_shortcut")
    if reshaping is None:
        return "identity"
    return "zero-padded" if isinstance(reshaping, ZeroPaddedShortcut) else "projection"
