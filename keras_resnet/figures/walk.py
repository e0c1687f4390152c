"""Draws the feature maps of a network as boxes, with arcs for the shortcuts."""

from math import log2
from typing import TYPE_CHECKING, Any

import keras

from keras_resnet.describe import format_shape
from keras_resnet.figures import ACCENT, CENTRED, INK, MUTED, WARM, new_figure
from keras_resnet.figures.volumes import Group, Volume, groups, text, volumes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP = 0.24  # between two boxes
MARGIN = 0.3  # between two groups
COLUMN = 1.7  # width of a group's text
LINE = 0.3  # height of a line of text
SLANT = 0.2  # slant of the receding edges
ARCS = {"identity": "-", "projection": "--", "zero-padded": ":", "dense": "-"}
LABELS = {"dense": "concatenation"}
FACES = ("#cfe0ec", "#e6eff6", "#a9c6da")  # front, top, side
FLAT_FACES = ("#f3d9c7", "#f9ece3", "#e3b698")  # the same for vectors
# A group with the x of its centre and of its boxes' left edges.
Placed = tuple[Group, float, list[float]]


def draw(model: keras.Model) -> tuple["Figure", str]:
    """Draws a network of a fixed input size; returns the figure and its description."""
    found = volumes(model)
    placed = _placed(groups(found))
    figure, ax = _canvas(found[0], placed)
    ax.set_title(model.name, color=INK, fontweight="bold", loc="left")
    chain: list[tuple[float, Volume]] = []  # inputs of the next volume
    for stage, middle, places in placed:
        for volume, x in zip(stage.shown, places, strict=True):
            if volume is None:
                ax.text(x + 0.2, 0, "···", **CENTRED)
                chain = []
                continue
            chain = _connected(ax, chain, (x, volume))
            _box(ax, x, volume)
        low = -_height(found[0].shape) / 2 - 0.35
        style = {**CENTRED, "va": "top", "fontsize": 8.5, "linespacing": 1.35}
        ax.text(middle, low, "\n".join(_label(stage)), **style)
    _legend(ax, {v.shortcut for v in found} - {""})
    return figure, text(model.name, found)


def _canvas(image: Volume, placed: list[Placed]) -> tuple["Figure", "Axes"]:
    """Returns an empty figure for the highest volume, the image, and all groups."""
    lines = max(len(_label(stage)) for stage, _, _ in placed)
    width = placed[-1][1] + COLUMN / 2 + 0.3
    half = _height(image.shape) / 2
    bottom, top = -half - 0.6 - LINE * lines, half + 1.7
    figure = new_figure(max(7.0, 0.62 * width), 0.62 * (top - bottom) + 0.4)
    ax = figure.subplots()
    ax.set(xlim=(-COLUMN / 2 - 0.3, width), ylim=(bottom, top), aspect="equal")
    ax.axis("off")
    return figure, ax


def _placed(stages: list[Group]) -> list[Placed]:
    placed, x = [], 0.0
    for stage in stages:
        widths = [_box_width(v) for v in stage.shown]
        inner = sum(widths) + GAP * (len(widths) - 1)
        column = max(inner, COLUMN)
        left = x + (column - inner) / 2 - COLUMN / 2
        places = []
        for wide in widths:
            places.append(left)
            left += wide + GAP
        placed.append((stage, x + column / 2 - COLUMN / 2, places))
        x += column + MARGIN
    return placed


def _height(shape: tuple[int | None, ...]) -> float:
    """Returns a height that grows with the logarithm of the side (224 to 1)."""
    if len(shape) == 1:
        return 0.3 + 0.22 * log2(shape[0] or 1)
    return 0.35 + 0.42 * log2(max(2, shape[0] or 2))


def _depth(shape: tuple[int | None, ...]) -> float:
    return SLANT * _height(shape) if len(shape) == 3 else 0.12


def _thickness(shape: tuple[int | None, ...]) -> float:
    return 0.06 * log2(2 * (shape[-1] or 1)) if len(shape) == 3 else 0.16


def _box_width(volume: Volume | None) -> float:
    if volume is None:
        return 0.4
    return _thickness(volume.shape) + _depth(volume.shape)


def _box(ax: "Axes", x: float, volume: Volume) -> None:
    from matplotlib.patches import Polygon

    right, deep = x + _thickness(volume.shape), _depth(volume.shape)
    up = _height(volume.shape) / 2
    front = [(x, -up), (right, -up), (right, up), (x, up)]
    top = [(x, up), (right, up), (right + deep, up + deep), (x + deep, up + deep)]
    back = right + deep
    side = [(right, -up), (back, -up + deep), (back, up + deep), (right, up)]
    colours = FACES if len(volume.shape) == 3 else FLAT_FACES
    for colour, points in zip(colours, (front, top, side), strict=True):
        ax.add_patch(Polygon(points, fc=colour, ec=INK, lw=0.6, joinstyle="round"))


def _connected(
    ax: "Axes", chain: list[tuple[float, Volume]], to: tuple[float, Volume]
) -> list[tuple[float, Volume]]:
    """Draws the arrow and the arcs to a volume; returns the new chain.

    A dense layer reads all earlier volumes of its stage, other layers only the last.
    """
    x, volume = to
    if chain:
        before, shape = chain[-1][0], chain[-1][1].shape
        start = before + _thickness(shape) + _depth(shape) / 2
        style = {"arrowstyle": "-|>", "color": MUTED, "lw": 0.8, "mutation_scale": 6}
        ax.annotate("", (x, 0), (start, 0), arrowprops=style, zorder=0.5)
    if volume.shortcut != "dense":
        chain = chain[-1:]
    if volume.shortcut:
        for source in chain:
            _arc(ax, source, to)
    return [*chain, to] if volume.shortcut == "dense" else [to]


def _arc(ax: "Axes", source: tuple[float, Volume], to: tuple[float, Volume]) -> None:
    from matplotlib.patches import FancyArrowPatch

    kind = to[1].shortcut
    tops = [
        (x + _box_width(v) / 2, _height(v.shape) / 2 + _depth(v.shape))
        for x, v in (source, to)
    ]
    style = {**_line(kind), "lw": 0.8 if kind == "dense" else 1.3}
    style |= {"arrowstyle": "-|>", "mutation_scale": 7, "shrinkA": 1, "shrinkB": 1}
    ax.add_patch(FancyArrowPatch(*tops, connectionstyle="arc3,rad=-0.7", **style))


def _line(kind: str) -> dict[str, Any]:
    """Returns the style of a shortcut's line."""
    return {"ls": ARCS[kind], "color": WARM if kind == "projection" else ACCENT}


def _label(stage: Group) -> list[str]:
    layers = list(stage.first.layers)
    if stage.count > 1:
        layers.insert(0, f"{stage.count} ×")
    return [stage.name.replace("_", " "), format_shape(stage.last.shape), *layers]


def _legend(ax: "Axes", kinds: set[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], **_line(kind), label=LABELS.get(kind, f"{kind} shortcut"))
        for kind in ARCS
        if kind in kinds
    ]
    if handles:
        ax.legend(
            handles=handles,
            loc="upper right",
            ncols=len(handles),
            frameon=False,
            fontsize=8,
        )
