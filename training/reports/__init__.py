"""Renders self-contained report pages from templates and described pictures."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnet.figures import ACCENT, INK, MUTED, PAPER, WARM
from keras_resnet.figures.fonts import savefig

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#6b7785"  # of the text beside a plot
COLOURS = (ACCENT, WARM, "#5b8c5a", "#8a63b0", "#b0506f", "#8a8a3a")

# Colours that the page's stylesheet changes on a dark background. The mixtures are the
# face colours of the boxes in keras_resnet.figures.walk.
VARIABLES = {
    INK: "var(--ink)",
    "#000000": "var(--ink)",
    GREY: "var(--quiet)",
    MUTED: "var(--muted)",
    ACCENT: "var(--accent)",
    WARM: "var(--warm)",
    PAPER: "var(--paper)",
    "#cccccc": "var(--line)",
    "#cfe0ec": "color-mix(in srgb, var(--accent) 25%, var(--paper))",
    "#e6eff6": "color-mix(in srgb, var(--accent) 12%, var(--paper))",
    "#a9c6da": "color-mix(in srgb, var(--accent) 42%, var(--paper))",
    "#f3d9c7": "color-mix(in srgb, var(--warm) 25%, var(--paper))",
    "#f9ece3": "color-mix(in srgb, var(--warm) 12%, var(--paper))",
    "#e3b698": "color-mix(in srgb, var(--warm) 42%, var(--paper))",
}


@dataclass(frozen=True)
class Picture:
    """A picture and its description.

    Attributes:
        title: Title of the picture.
        svg: The picture as an ``<svg>`` element.
        text: Text alternative for readers who cannot see the picture.
    """

    title: str
    svg: str
    text: str


def render(template: str, **values: Any) -> str:
    """Renders a template to a page and returns the page.

    Args:
        template: Path of the template's file in the package ``training``.
        **values: Variables of the template.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parents[1]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {f.__name__: f for f in (percent, count, short, size)}
    return environment.get_template(template).render(**values)


def percent(share: float | None) -> str:
    """Formats a share, such as ``98.61 %``."""
    return "–" if share is None else f"{100 * share:.2f} %"


def count(number: int) -> str:
    """Formats an integer, such as ``1,437``."""
    return f"{number:,}"


def short(number: int) -> str:
    """Formats a large number with three digits, such as ``2.52 M``."""
    for unit, name in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return str(number)


def size(shape: Sequence[int]) -> str:
    """Formats a shape, such as ``8×8×1``."""
    return "×".join(map(str, shape))


def canvas(width: float = 4.6, height: float = 3.0) -> "Axes":
    """Returns empty axes; width and height are in inches."""
    from matplotlib.figure import Figure

    axes: Axes = Figure((width, height), layout="constrained").subplots()
    return axes


def epoch_axis(axes: "Axes") -> None:
    """Labels the x-axis of plotted curves with whole epochs from 1."""
    from matplotlib.ticker import MaxNLocator

    if axes.dataLim.xmax > 1:
        axes.set_xlim(left=1)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def svg(axes: "Axes", *, grid: bool = True) -> str:
    """Returns the drawing on a canvas as an ``<svg>`` element."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    for each in figure.axes:
        each.tick_params(color=MUTED, labelcolor=GREY, labelsize=9, which="both")
        each.spines[["top", "right"]].set_visible(False)
        each.spines[["left", "bottom"]].set_color(MUTED)
        if grid:
            each.grid(axis="y", color=MUTED, alpha=0.3, lw=0.6)
        each.set_axisbelow(True)
        for label in (each.xaxis.label, each.yaxis.label):
            label.set_color(GREY)
    return inline(figure)


def inline(figure: "Figure") -> str:
    """Returns a figure as an ``<svg>`` element in the page's colours."""
    import matplotlib as mpl

    drawn = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        savefig(figure, drawn, format="svg", transparent=True)
    return adapt_svg(drawn.getvalue())


def adapt_svg(text: str) -> str:
    """Adapts an SVG figure of this project to a page.

    Removes metadata, title, size and unused ids, which could occur twice in the page,
    and replaces the colours by the page's.
    """
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|title|desc)>.*?</\1>", "", text, flags=re.DOTALL)
    root, rest = text.split(">", 1)
    root = re.sub(r' (?:width|height|role|aria-label|xmlns[:\w]*)="[^"]*"', "", root)
    used = set(re.findall(r"#([\w.-]+)", rest))
    rest = re.sub(
        r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", rest
    ).replace("xlink:href", "href")
    names = "|".join(VARIABLES)
    return f"{root}>" + re.sub(names, lambda m: VARIABLES[m[0]], rest)
