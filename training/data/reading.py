"""How a data set's files are read, as a recipe has it."""

from dataclasses import dataclass
from typing import Literal

# A file of a few kilobytes can hold an image of gigabytes. Decoding takes up to 8.5
# bytes a pixel (a progressive JPEG): 430 MB.
MAX_PIXELS = 50_000_000

Cache = Literal["none", "memory", "disk"]


@dataclass(frozen=True)
class ReadOptions:
    """How files are read.

    Attributes:
        skip_bad_images: Leave out files that are no image, with a note.
        cache: Where images are kept, encoded as they are.
        max_pixels: The largest image that is decoded, width times height.
    """

    skip_bad_images: bool = False
    cache: Cache = "none"
    max_pixels: int = MAX_PIXELS
