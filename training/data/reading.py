"""Defines options for reading the files of a data set."""

from dataclasses import dataclass
from typing import Literal

# A file of a few kilobytes can hold an image of gigabytes. Decoding takes up to 8.5
# bytes per pixel (progressive JPEG), which is 430 MB for this limit.
MAX_PIXELS = 50_000_000

Cache = Literal["none", "memory", "disk", "decoded"]


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading image files.

    Attributes:
        skip_bad_images: Whether to skip bad image files, with a note.
        cache: Where encoded images are kept. ``"decoded"`` (some of them will be kept
            decoded) is ``"none"`` for local files and ``"disk"`` for others.
        max_pixels: Largest image to decode, as width times height.
        stand_ins: Whether a valid image with a hash of zeros takes the place of each
            skipped file of a folder, so that the others keep their positions.
    """

    skip_bad_images: bool = False
    cache: Cache = "none"
    max_pixels: int = MAX_PIXELS
    stand_ins: bool = False
