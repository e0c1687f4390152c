"""An image's way into the network, the same in training, evaluation and serving."""

from dataclasses import asdict, dataclass
from typing import Any

import tensorflow as tf

from training.data.decoding import images
from training.data.types import Size, Tensor


@dataclass(frozen=True)
class Preprocessing:
    """What happens to an image on its way into the network; all that serving needs.

    Attributes:
        size: Height and width of the network's input, pixels.
        channels: Channels of the input.
        crop: Share of the image's shorter side that evaluation looks at.
        mean: Per channel, of pixels 0–255.
        deviation: Per channel, likewise.
    """

    size: Size
    channels: int
    crop: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one input."""
        return (*self.size, self.channels)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """Reads what ``to_dict`` made."""
        listed: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**listed)

    def window(self, shape: Tensor) -> Tensor:
        """The window that evaluation looks at, of an image's height and width."""
        return images.centre_window(shape, self.size, self.crop)

    def decode(self, data: Tensor) -> Tensor:
        """Maps the bytes of an image file to the pixels that evaluation looks at."""
        image = images.decode_window(data, self.window, self.channels)
        return tf.ensure_shape(images.resize(image, self.size), self.input_shape)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Maps pixels 0–255 to the network's input, float32."""
        return images.normalise(pixels, self.mean, self.deviation)
