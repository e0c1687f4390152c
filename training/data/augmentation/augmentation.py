"""Defines the complete random augmentation of training images."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import tensorflow as tf

from training.data.augmentation import transforms
from training.data.augmentation.mixing import Mixing
from training.data.augmentation.policies import RandAugment, TrivialAugment
from training.data.decoding.images import WindowOf
from training.data.types import Size, Tensor

Geometry = Literal["none", "pad_crop", "scale_crop", "area_crop"]


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images, each a pure function of the image's seed.

    Attributes:
        sizes: Heights and widths of the training images. Each is used for an equal part
            of the epochs, in this order.
        epochs: Number of epochs.
        geometry: How images are cropped.
        pad: Pixels that ``pad_crop`` adds on each side; None: an eighth of the image.
        flip: Whether to mirror half of the images.
        policy: Random operations on each image; None: no operations.
        color_jitter: Maximum relative change of brightness, contrast and saturation.
        lighting: Standard deviation of AlexNet's colour noise.
        erasing: Probability of erasing a random rectangle.
        fill: Colour of erased and uncovered pixels, 0–255 per channel.
        mixing: How to mix the images of a batch; None: no mixing.
        repeats: Number of copies of an image in an epoch.
    """

    sizes: tuple[Size, ...]
    epochs: int = 1
    geometry: Geometry = "none"
    pad: int | None = None
    flip: bool = False
    policy: RandAugment | TrivialAugment | None = None
    color_jitter: float = 0.0
    lighting: float = 0.0
    erasing: float = 0.0
    fill: tuple[float, ...] = ()
    mixing: Mixing | None = None
    repeats: int = 1

    def size(self, epoch: int) -> Size:
        """Returns height and width of the images in an epoch, counted from 0."""
        return self.sizes[epoch * len(self.sizes) // self.epochs]

    def window(self, size: Size, seed: Tensor) -> WindowOf | None:
        """Returns a function that draws the crop window; None: use the whole image.

        Args:
            size: Height and width that the window is resized to.
            seed: Seed of the image, int32 ``(2,)``.
        """
        if self.geometry == "scale_crop":
            return partial(transforms.scale_window, size=size, seed=seed)
        if self.geometry == "area_crop":
            return partial(transforms.area_window, seed=seed)
        return None

    def __call__(self, image: Tensor, seed: Tensor) -> Tensor:
        """Augments an image that has been cropped to its window and resized.

        Args:
            image: uint8 ``(H, W, C)``.
            seed: Seed of the image, int32 ``(2,)``.

        Returns:
            uint8 ``(H, W, C)``.
        """
        if self.geometry == "pad_crop":
            pad = min(image.shape[:2]) // 8 if self.pad is None else self.pad
            image = transforms.pad_crop(image, pad, seed + 2)
        if self.flip:
            image = transforms.flip(image, seed + 3)
        fill = tf.constant(self.fill, tf.float32)
        if self.policy:
            image = self.policy(image, fill, seed + 4)
        if self.color_jitter:
            image = transforms.color_jitter(image, self.color_jitter, seed + 5)
        if self.lighting:
            image = transforms.lighting(image, self.lighting, seed + 6)
        if self.erasing:
            image = transforms.erase(image, self.erasing, fill, seed + 7)
        return image
