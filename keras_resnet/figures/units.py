"""Draws a residual unit as a diagram of its branch and its shortcut."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras

from keras_resnet.describe import layer_label
from keras_resnet.families.branch import ORDERS
from keras_resnet.families.ops import Conv
from keras_resnet.families.residual import SKIPS, Unit, residual
from keras_resnet.figures import ACCENT, CENTRED, INK, MUTED, WARM, new_figure
from keras_resnet.layers import ZeroPaddedShortcut

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 64
BRANCHES = {
    "basic": (Conv(WIDTH, 3), Conv(WIDTH, 3)),
    "bottleneck": (Conv(WIDTH, 1), Conv(WIDTH, 3), Conv(4 * WIDTH, 1)),
}
LEFT, MIDDLE, RIGHT = -1.25, 0.0, 1.25  # shortcut, gate, branch
BOX, STEP = 0.62, 1.0
VARIABLE = {**CENTRED, "style": "italic"}
COLOURS = {"conv": "#cfe0ec", "norm": "#eef2f5", "relu": "#f3d9c7", "other": "#e4e0f0"}


@dataclass(frozen=True)
class Diagram:
    """The operations of a unit by position, in the order of the data flow.

    Attributes:
        branch: Operations of F.
        shortcut: Operations of h.
        gate: Operations of g, which multiplies F, h or both.
        out: Operations after the addition.
    """

    branch: tuple[str, ...]
    shortcut: tuple[str, ...]
    gate: tuple[str, ...]
    out: tuple[str, ...]


def diagram(order: str, skip: str, unit: str = "basic") -> Diagram:
    """Returns the diagram of a unit, derived from its layers.

    Args:
        order: A key of ``ORDERS``.
        skip: A key of ``SKIPS``.
        unit: A key of ``BRANCHES``.
    """
    convs = BRANCHES[unit]
    x = keras.Input((8, 8, convs[-1].filters))
    y = residual(x, Unit(convs, ORDERS[order], skip=SKIPS[skip]), name="unit")
    places: dict[str, list[str]] = {"branch": [], "shortcut": [], "gate": [], "out": []}
    for layer in keras.Model(x, y).layers:
        name = layer.name.removeprefix("unit_")
        if name != "add" and not isinstance(layer, keras.layers.InputLayer):
            places[_place(name)].append(_label(layer, name))
    return Diagram(**{place: tuple(boxes) for place, boxes in places.items()})


def draw(
    orders: list[str], skips: list[str], unit: str = "basic"
) -> tuple["Figure", str]:
    """Draws units in a grid with one column per kind of shortcut and one row per order.

    A single order or a single kind of shortcut gives one row.

    Args:
        orders: Keys of ``ORDERS``.
        skips: Keys of ``SKIPS``.
        unit: A key of ``BRANCHES``.

    Returns:
        The figure and its text description.
    """
    pairs = [[(order, skip) for skip in skips] for order in orders]
    if len(skips) == 1:
        pairs = [[pair for row in pairs for pair in row]]
    high = max(_height(diagram(o, s, unit)) for row in pairs for o, s in row)
    figure = new_figure(max(3.2, 2.5 * len(pairs[0])), (0.42 * high + 0.9) * len(pairs))
    axes = figure.subplots(len(pairs), len(pairs[0]), squeeze=False)
    parts = []
    for row, cells in zip(axes, pairs, strict=True):
        for ax, (order, skip) in zip(row, cells, strict=True):
            shown = diagram(order, skip, unit)
            _draw(ax, shown, high)
            title = [order] * (len(orders) > 1) + [skip] * (len(skips) > 1)
            name = ", ".join(title or [order, skip]).replace("_", " ")
            ax.set_title(name, fontsize=9, color=INK)
            parts.append(f"{name}: {_text(shown)}")
    return figure, f"Residual units. {'; '.join(parts)}."


def _place(name: str) -> str:
    if name in ("norm", "relu"):
        return "out"
    if name.startswith("shortcut") or name == "carry":
        return "shortcut"
    return "gate" if name in ("gate", "gate_sigmoid") else "branch"


def _label(layer: keras.layers.Layer, name: str) -> str:
    special = {
        "carry": "1 − g",
        "shortcut_pool": "average-pool",
        "shortcut_gated": "× (1 − g)",
        "gated": "× g",
        "gate_sigmoid": "sigmoid",
    }
    if name in special:
        return special[name]
    if isinstance(layer, keras.layers.Conv2D):
        return layer_label(layer).replace(" shortcut", "").replace(" ", " conv, ")
    if isinstance(layer, keras.layers.BatchNormalization):
        return "norm"
    if isinstance(layer, keras.layers.Rescaling):
        return f"× {layer.scale:g}"
    if isinstance(layer, keras.layers.Dropout):
        return f"dropout {layer.rate:g}"
    kind = getattr(layer, "activation", type(layer)).__name__.lower()
    return "zero-pad" if isinstance(layer, ZeroPaddedShortcut) else kind


def _text(shown: Diagram) -> str:
    branch = " → ".join(shown.branch)
    shortcut = " → ".join(s for s in shown.shortcut if s != "1 − g") or "identity"
    gate = f", gate g {' → '.join(shown.gate)}" if shown.gate else ""
    out = f", then {' → '.join(shown.out)}" if shown.out else ""
    return f"branch {branch}, shortcut {shortcut}{gate}{out}"


def _height(shown: Diagram) -> float:
    return STEP * (len(shown.branch) + len(shown.out) + 3)


def _draw(ax: "Axes", shown: Diagram, high: float) -> None:
    ax.set(xlim=(-2.2, 2.2), ylim=(-high + 0.2, 0.6), aspect="equal")
    ax.axis("off")
    ax.text(0, 0.3, "x", **VARIABLE)
    addition = -STEP * (len(shown.branch) + 1.4)
    fork = -0.15
    ax.plot([0, 0], [0.1, fork], color=INK, lw=1)
    _column(ax, RIGHT, shown.branch, (fork, addition), INK)
    around = tuple(s for s in shown.shortcut if s != "1 − g")
    colour = WARM if around else ACCENT
    _column(ax, LEFT, around, (fork, addition), colour)
    if shown.gate:
        _gate(ax, shown, fork, addition)
    circle = {"boxstyle": "circle,pad=0.12", "fc": "white", "ec": INK}
    ax.text(0, addition, "+", fontsize=11, bbox=circle, **CENTRED)
    y = addition - 0.3
    for label in (*shown.out, "x′"):
        _arrow(ax, (0, y), (0, y - 0.45))
        y -= STEP * 0.45 + BOX / 2
        if label == "x′":
            ax.text(0, y + 0.08, label, **VARIABLE)
        else:
            _box(ax, 0, y, label)
        y -= BOX / 2


def _column(
    ax: "Axes", x: float, boxes: tuple[str, ...], ends: tuple[float, float], colour: str
) -> None:
    """Draws a line from the fork to the addition through evenly spaced boxes."""
    start, end = ends
    ax.plot([0, x, x], [start, start, end], color=colour, lw=1.4, zorder=0)
    _arrow(ax, (x, end), (0.3 if x > 0 else -0.3, end), colour)
    distance = (start - end) / (len(boxes) + 1)
    for i, label in enumerate(boxes, 1):
        _box(ax, x, start - i * distance, label)


def _gate(ax: "Axes", shown: Diagram, fork: float, addition: float) -> None:
    """Draws the gate g, which starts at the unit's input."""
    first = fork - (fork - addition) / 3
    ys = [first, first - STEP]
    ax.plot([0, 0], [fork, ys[-1] - 0.7], color=MUTED, lw=1.2, zorder=0)
    for y, label in zip(ys, shown.gate, strict=True):
        _box(ax, 0, y, label)
    ax.text(0, ys[-1] - 0.9, "g", **VARIABLE)


def _box(ax: "Axes", x: float, y: float, label: str) -> None:
    colour = COLOURS.get("conv" if "conv" in label else label, COLOURS["other"])
    box = {"boxstyle": "round,pad=0.35", "fc": colour, "ec": INK, "lw": 0.6}
    ax.text(x, y, label, fontsize=7, bbox=box, **CENTRED)


def _arrow(
    ax: "Axes", start: tuple[float, float], end: tuple[float, float], colour: str = INK
) -> None:
    style = {"arrowstyle": "-|>", "color": colour, "lw": 1.2, "mutation_scale": 8}
    ax.annotate("", end, start, arrowprops=style)
