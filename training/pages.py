"""Self-contained pages about runs: templates, and pictures with their words."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY = "#888"  # is read on light and on dark ground
COLOURS = ("#2a7ae2", "#e2702a", "#2e9e6b", "#a05ac8", "#c84b6a", "#8a8a2a")


@dataclass(frozen=True)
class Picture:
    """A picture and its description.

    Attributes:
        title: What it shows.
        svg: The picture, an ``<svg>`` element.
        text: The same for those who do not see it.
    """

    title: str
    svg: str
    text: str


def render(template: str, **values: Any) -> str:
    """Returns a page, made from a template of this package.

    Args:
        template: Path of the template's file in it.
        **values: What the template names.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def canvas(width: float = 4.6, height: float = 3.0) -> "Axes":
    """Returns empty axes to draw on, of a size in inches."""
    from matplotlib.figure import Figure

    axes: Axes = Figure(figsize=(width, height), layout="constrained").subplots()
    return axes


def svg(axes: "Axes") -> str:
    """Returns what was drawn as an ``<svg>`` element, its axes in grey."""
    axes.tick_params(colors=GREY, which="both")
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(GREY)
    for spine in axes.spines.values():
        spine.set_color(GREY)
    drawn = io.StringIO()
    figure: Any = axes.get_figure(root=True)
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
    text = drawn.getvalue()
    return text[text.index("<svg") :]
