"""Defines the options of an exported graph."""

from dataclasses import dataclass
from typing import Annotated, Literal

from training.data.reading import MAX_PIXELS
from training.recipes.checks import Range, check_ranges


@dataclass(frozen=True, kw_only=True)
class GraphOptions:
    """Options of an exported graph."""

    freeze: bool = True
    """Fold batch norms into convolutions and store weights as constants: faster."""
    compute: Literal["float32", "bf16"] = "float32"
    """Type of the weights and the computation; bf16 is bfloat16. Probabilities are
    float32."""
    max_pixels: Annotated[int, Range(1, 2**31 - 1)] = MAX_PIXELS
    """Largest image that classify_bytes decodes, in pixels."""

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def folded(self) -> bool:
        """Whether batch norms are folded; bf16 implies it: it needs other variables."""
        return self.freeze or self.compute != "float32"

    @property
    def dtype(self) -> str:
        """Keras' name of the type of the computation."""
        return "bfloat16" if self.compute == "bf16" else "float32"
