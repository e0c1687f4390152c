"""Finds fonts for characters that matplotlib's font lacks, e.g. Chinese ones."""

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAST_RESORT = "Last Resort"  # matplotlib's font that draws boxes


def savefig(figure: "Figure", target: Any, **options: Any) -> None:
    """Saves a figure with text in installed fonts that contain its characters.

    If no font contains a character, a PNG shows a box, and an SVG with text elements
    uses the viewer's font. The function suppresses matplotlib's warnings about it. The
    target, a path or an open file, and the options are those of ``Figure.savefig``.
    """
    from matplotlib.text import Text

    texts = [t for t in figure.findobj(Text) if not t.get_text().isascii()]
    if texts:
        fonts = _fonts_for(set("".join(text.get_text() for text in texts)))
        for text in texts:
            text.set_fontfamily([*text.get_fontfamily(), *fonts])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"(?s)Glyph \d+ .* missing from")
        figure.savefig(target, **options)


def _fonts_for(characters: set[str]) -> list[str]:
    """Returns fonts that together contain characters missing from the default font."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

    def lacking(path: Any) -> set[str]:
        font = get_font(path)
        return {c for c in missing if not font.get_char_index(ord(c))}

    missing, chosen = {c for c in characters if c.isprintable()}, []
    missing = lacking(findfont(FontProperties()))
    # matplotlib warns about fonts without a normal weight.
    plain = {
        font.name: font.fname
        for font in fontManager.ttflist
        if font.weight == 400 and font.style == "normal"
    }
    for name in sorted(plain, key=lambda name: ("Sans" not in name, name)):
        if missing and LAST_RESORT not in name:
            try:
                left = lacking(plain[name])
            except (OSError, RuntimeError):  # removed since matplotlib listed it
                continue
            if left != missing:
                chosen.append(name)
            missing = left
    return chosen
