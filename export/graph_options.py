"""What form an exported graph takes."""

from dataclasses import dataclass
from typing import Literal

from training.data.reading import MAX_PIXELS
from training.recipes.checks import check_range

__all__ = ["MAX_PIXELS", "GraphOptions"]


@dataclass(frozen=True, kw_only=True)
class GraphOptions:
    """What form the graph takes."""

    freeze: bool = True
    """Batch norms folded into the convolutions, weights as constants: faster."""
    compute: Literal["float32", "bf16"] = "float32"
    """What weights are stored and features computed in. Probabilities are float32."""
    max_pixels: int = MAX_PIXELS
    """Largest image that classify_bytes decodes, in pixels; of a GIF, all frames."""

    def __post_init__(self) -> None:
        check_range("max_pixels", self.max_pixels, 1, 2**31 - 1)

    @property
    def folded(self) -> bool:
        """Batch norms are folded; also where bf16 asks for other variables."""
        return self.freeze or self.compute != "float32"

    @property
    def dtype(self) -> str:
        """Keras' name of what is computed in."""
        return "bfloat16" if self.compute == "bf16" else "float32"
