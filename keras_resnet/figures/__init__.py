"""Styles matplotlib figures and saves them with a text description."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnet.errors import UsageError, require_local
from keras_resnet.figures.fonts import savefig

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1f2933"
MUTED = "#9aa5b1"
ACCENT = "#2f6f9f"
WARM = "#c8662b"
PAPER = "#ffffff"
SUFFIXES = (".svg", ".png")
DOTS = 200  # dots per inch of a PNG
CENTRED: dict[str, Any] = {
    "ha": "center",
    "va": "center",
    "color": INK,
}  # style of a label


def new_figure(width: float, height: float) -> "Figure":
    """Returns an empty figure of the given size in inches, independent of pyplot."""
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained", facecolor=PAPER)


def axes_row(count: int, title: str) -> tuple["Figure", Sequence["Axes"]]:
    """Returns a figure with ``count`` plots side by side."""
    figure = new_figure(4.2 * count, 3.6)
    figure.suptitle(title, color=INK, fontweight="bold")
    row = figure.subplots(1, count)
    for ax in row:
        ax.spines[["top", "right"]].set_visible(False)
        ax.title.set_fontsize(10)
        ax.grid(axis="y", color=MUTED, alpha=0.3, lw=0.6)
        ax.set_axisbelow(True)
    return figure, row


def require_suffix(path: Path) -> None:
    """Raises UsageError unless a figure's file name ends in ``.svg`` or ``.png``."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"the figure file must end in {' or '.join(SUFFIXES)}, got {str(path)!r}"
        )


def save(figure: "Figure", path: Path, *, title: str, text: str) -> None:
    """Saves a figure in the format of its suffix, with an alternative text.

    Args:
        figure: The figure.
        path: An ``.svg`` file, whose root element stores title and text for screen
            readers, or a ``.png`` file, which stores them as metadata.
        title: A short title.
        text: A description of the figure.

    Raises:
        UsageError: The suffix is unsupported.
    """
    from matplotlib import rc_context

    require_suffix(path)
    if path.suffix.lower() == ".png":
        savefig(figure, path, dpi=DOTS, metadata={"Title": title, "Description": text})
        return
    # Text remains text, which can be read aloud, searched and copied.
    with rc_context({"svg.fonttype": "none"}):
        savefig(figure, path, metadata={"Title": title, "Date": None})
    drawn = path.read_text(encoding="utf-8")
    root = f'<svg role="img" aria-label="{escape(title)}" '
    words = f"<title>{escape(title)}</title><desc>{escape(text)}</desc>"
    drawn = drawn.replace("<svg ", root, 1)
    end = drawn.index(">", drawn.index("<svg ")) + 1
    path.write_text(f"{drawn[:end]}\n {words}{drawn[end:]}", encoding="utf-8")


def write(figure: "Figure", path: Path, *, title: str, text: str) -> None:
    """Saves a figure to a path from the user; takes the arguments of ``save``.

    Raises:
        UsageError: The suffix is unsupported, or the file cannot be written.
    """
    require_local(path)
    try:
        save(figure, path, title=title, text=text)
    except OSError as error:
        raise UsageError(
            f"figure must be writable, got {path}: {error.strerror}"
        ) from error
