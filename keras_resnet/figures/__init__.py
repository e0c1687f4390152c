"""Pictures by matplotlib: their one style, and how they are saved with their text."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

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
DOTS = 200  # per inch, of a PNG


def new_figure(width: float, height: float) -> "Figure":
    """Returns an empty figure of that size in inches, apart from pyplot's state."""
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained", facecolor=PAPER)


def axes_row(count: int, title: str) -> tuple["Figure", Sequence["Axes"]]:
    """Returns a figure with plots side by side."""
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
    """Raises UsageError unless a picture's file name says what it is."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"a figure's file must end in {' or '.join(SUFFIXES)}, got {str(path)!r}"
        )


def save(figure: "Figure", path: Path, *, title: str, text: str) -> None:
    """Saves a picture as its suffix says, with a text for those who cannot see it.

    Args:
        figure: The picture.
        path: ``.svg``, whose root gets title and text for screen readers, or ``.png``,
            which carries them as metadata.
        title: A few words.
        text: What the picture shows.

    Raises:
        UsageError: The suffix is another.
    """
    from matplotlib import rc_context

    require_suffix(path)
    if path.suffix.lower() == ".png":
        savefig(figure, path, dpi=DOTS, metadata={"Title": title, "Description": text})
        return
    # Text stays text: it can be read aloud, searched and copied.
    with rc_context({"svg.fonttype": "none"}):
        savefig(figure, path, metadata={"Title": title, "Date": None})
    drawn = path.read_text(encoding="utf-8")
    root = f'<svg role="img" aria-label="{escape(title)}" '
    words = f"<title>{escape(title)}</title><desc>{escape(text)}</desc>"
    drawn = drawn.replace("<svg ", root, 1)
    end = drawn.index(">", drawn.index("<svg ")) + 1
    path.write_text(f"{drawn[:end]}\n {words}{drawn[end:]}", encoding="utf-8")


def write(figure: "Figure", path: Path, *, title: str, text: str) -> None:
    """Saves a picture where a user asked for it; arguments as of ``save``.

    Raises:
        UsageError: The suffix is another, or the file cannot be written.
    """
    require_local(path)
    try:
        save(figure, path, title=title, text=text)
    except OSError as error:
        raise UsageError(
            f"figure must be writable, got {path}: {error.strerror}"
        ) from error
