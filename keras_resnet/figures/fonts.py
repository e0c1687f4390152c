"""Fonts for characters that matplotlib's own font lacks, such as Chinese ones."""

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAST_RESORT = "Last Resort"  # matplotlib's font of boxes


def savefig(figure: "Figure", target: Any, **options: Any) -> None:
    """Saves a figure, its text in installed fonts that have the characters.

    Where none has one, a PNG shows a box, while text that an SVG keeps as text is in
    the viewer's own font; matplotlib's warnings of it are left out.

    Args:
        figure: The picture.
        target: A path or an open file.
        **options: Of ``Figure.savefig``.
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
    """Names of fonts that together have what the default font lacks of characters."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

    def lacking(path: Any) -> set[str]:
        font = get_font(path)
        return {c for c in missing if not font.get_char_index(ord(c))}

    missing, chosen = {c for c in characters if c.isprintable()}, []
    missing = lacking(findfont(FontProperties()))
    # Of other weights matplotlib would say that it has no normal one.
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
