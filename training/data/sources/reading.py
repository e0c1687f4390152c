"""How a data set's files are read, as a recipe has it."""

from dataclasses import dataclass
from typing import Literal

from training.hyperparameters import MAX_PIXELS

Cache = Literal["none", "memory", "disk"]


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        skip_bad_images: Leave out files that are no image, with a note.
        cache: Where images are kept, encoded as they are.
        max_pixels: The largest image that is decoded, width times height.
    """

    skip_bad_images: bool = False
    cache: Cache = "none"
    max_pixels: int = MAX_PIXELS
