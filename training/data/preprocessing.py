"""Preprocesses images in the same way for training, evaluation and serving."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from keras_resnet.numeric import plain
from training.data.decoding import images
from training.data.types import Size, Tensor


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of an image; serving needs nothing else.

    Attributes:
        size: Height and width of the network's input in pixels.
        channels: Number of channels of the input.
        crop: Fraction of the image's shorter side that evaluation uses.
        mean: Mean of each channel, for pixels 0–255.
        deviation: Standard deviation of each channel, for pixels 0–255.
    """

    size: Size
    channels: int
    crop: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one input."""
        return (*self.size, self.channels)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """Creates a preprocessing from the result of ``to_dict``."""
        return cls(**{name: plain(value) for name, value in values.items()})

    def window(self, shape: Tensor) -> Tensor:
        """Returns the window for evaluation, given an image's height and width."""
        return images.centre_window(shape, self.size, self.crop)

    def decode(self, data: Tensor) -> Tensor:
        """Decodes an image file to pixels of the evaluation window, at input size."""
        image = images.decode_window(data, self.window, self.channels)
        return tf.ensure_shape(images.resize(image, self.size), self.input_shape)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Returns (x − mean) / deviation per channel for pixels x of 0–255, float32."""
        mean, deviation = np.array([self.mean, self.deviation], np.float32)
        return (ops.cast(pixels, "float32") - mean) / deviation
