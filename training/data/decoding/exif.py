"""Reads and applies the EXIF orientation of a JPEG without TensorFlow.

The EXIF tag *orientation* is 1 to 8; ``TURNS`` defines the values. Only the first EXIF
segment of a JPEG is read. The module ``orientation`` does the same in a graph.
"""

from dataclasses import dataclass

from PIL import Image

TAG = 0x0112


@dataclass(frozen=True)
class Turn:
    """Steps from the stored image to the shown image: flips first, then a transpose.

    Attributes:
        rows: Whether to flip upside down.
        columns: Whether to mirror left to right.
        transposed: Whether to swap rows and columns.
    """

    rows: bool = False
    columns: bool = False
    transposed: bool = False


# CIPA DC-008 (Exif 2.32), section 4.6.4 A, table 5.
TURNS = {
    1: Turn(),
    2: Turn(columns=True),
    3: Turn(rows=True, columns=True),
    4: Turn(rows=True),
    5: Turn(transposed=True),
    6: Turn(rows=True, transposed=True),
    7: Turn(rows=True, columns=True, transposed=True),
    8: Turn(columns=True, transposed=True),
}


def read_exif_orientation(image: Image.Image) -> int:
    """Returns the orientation of an opened image; 1 if it has none."""
    if image.format not in ("JPEG", "MPO"):
        return 1
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        value = exif.get(TAG, 1)
    except Exception:  # Pillow raises many kinds for damaged EXIF
        return 1
    return value if value in TURNS else 1


def apply_orientation(image: Image.Image, orientation: int) -> Image.Image:
    """Turns a stored image upright, as it is to be shown."""
    turn = TURNS[orientation]
    for needed, step in (
        (turn.rows, Image.Transpose.FLIP_TOP_BOTTOM),
        (turn.columns, Image.Transpose.FLIP_LEFT_RIGHT),
        (turn.transposed, Image.Transpose.TRANSPOSE),
    ):
        image = image.transpose(step) if needed else image
    return image
