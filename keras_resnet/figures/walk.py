"""Draws the feature maps of a network as boxes, with arcs for the shortcuts."""

from math import log2
from typing import TYPE_CHECKING

import keras

from keras_resnet.figures import ACCENT, INK, MUTED, WARM, new_figure
from keras_resnet.figures.volumes import Group, Volume, groups, size, text, volumes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP = 0.24  # between two boxes
MARGIN = 0.3  # between two groups
COLUMN = 1.7  # width of a group's text
LINE = 0.3  # height of a line of text
SLANT = 0.2  # slant of the receding edges
ARCS = {"identity": "-", "projection": "--", "zero-padded": ":", "dense": "-"}
FACES = ("#cfe0ec", "#e6eff6", "#a9c6da")  # front, top, side
FLAT_FACES = ("#f3d9c7", "#f9ece3", "#e3b698")  # the same for vectors


def draw(model: keras.Model) -> tuple["Figure", str]:
    """Draws the feature maps of a network.

    Args:
        model: A network of this library, of a fixed input size.

    Returns:
        The figure and its text description.
    """
    found = volumes(model)
    stages = groups(found)
    placed = _placed(stages)
    width = placed[-1][1] + COLUMN / 2 + 0.3
    lines = max(len(_label(stage)) for stage in stages)
    bottom, top = (
        -_height(found[0].shape) / 2 - 0.6 - LINE * lines,
        _height(found[0].shape) / 2 + 1.7,
    )
    figure = new_figure(max(7.0, 0.62 * width), 0.62 * (top - bottom) + 0.4)
    ax = figure.subplots()
    ax.set(xlim=(-COLUMN / 2 - 0.3, width), ylim=(bottom, top), aspect="equal")
    ax.axis("off")
    ax.set_title(model.name, color=INK, fontweight="bold", loc="left")
    chain: list[tuple[float, Volume]] = []  # inputs of the next volume
    for stage, middle, places in placed:
        for volume, x in zip(stage.shown, places, strict=True):
            if volume is None:
                ax.text(x + 0.2, 0, "···", ha="center", va="center", color=INK)
                chain = []
                continue
            chain = _connected(ax, chain, (x, volume))
            _box(ax, x, volume)
        ax.text(
            middle,
            -_height(found[0].shape) / 2 - 0.35,
            "\n".join(_label(stage)),
            ha="center",
            va="top",
            fontsize=8.5,
            color=INK,
            linespacing=1.35,
        )
    _legend(ax, {v.shortcut for v in found} - {""})
    return figure, text(model.name, found)


def _placed(stages: list[Group]) -> list[tuple[Group, float, list[float]]]:
    """Returns each group with the x of its centre and of its boxes' left edges."""
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

    wide, high = _thickness(volume.shape), _height(volume.shape)
    deep = _depth(volume.shape)
    low, up = -high / 2, high / 2
    front, top, side = FACES if len(volume.shape) == 3 else FLAT_FACES
    corners = (
        (front, [(x, low), (x + wide, low), (x + wide, up), (x, up)]),
        (
            top,
            [
                (x, up),
                (x + wide, up),
                (x + wide + deep, up + deep),
                (x + deep, up + deep),
            ],
        ),
        (
            side,
            [
                (x + wide, low),
                (x + wide + deep, low + deep),
                (x + wide + deep, up + deep),
                (x + wide, up),
            ],
        ),
    )
    for colour, points in corners:
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
        (
            x + (_thickness(v.shape) + _depth(v.shape)) / 2,
            _height(v.shape) / 2 + _depth(v.shape),
        )
        for x, v in (source, to)
    ]
    ax.add_patch(
        FancyArrowPatch(
            *tops,
            connectionstyle="arc3,rad=-0.7",
            arrowstyle="-|>",
            mutation_scale=7,
            lw=0.8 if kind == "dense" else 1.3,
            ls=ARCS[kind],
            color=WARM if kind == "projection" else ACCENT,
            shrinkA=1,
            shrinkB=1,
        )
    )


def _label(stage: Group) -> list[str]:
    layers = list(stage.first.layers)
    if stage.count > 1:
        layers.insert(0, f"{stage.count} ×")
    return [stage.name.replace("_", " "), size(stage.last.shape), *layers]


def _legend(ax: "Axes", kinds: set[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            ls=ARCS[kind],
            color=WARM if kind == "projection" else ACCENT,
            label=f"{kind} shortcut" if kind != "dense" else "concatenation",
        )
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
