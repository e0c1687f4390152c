"""Returns images as the network sees them, for display."""

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.data.pipeline import TrainingData, evaluation_batches
from training.data.preprocessing import Preprocessing
from training.data.types import Dataset

COUNT = 16


def training_samples(data: TrainingData) -> np.ndarray:
    """Returns the first ``COUNT`` augmented training images, uint8 ``(N, H, W, 1|3)``.

    If the augmentation mixes batches, these images are mixed with each other.
    """
    images, _ = next(iter(replace(data, batch_size=COUNT).batches(epoch=0)))
    return visible(np.asarray(images))


def evaluation_samples(
    dataset: Dataset, split: str, indices: Sequence[int], preprocessing: Preprocessing
) -> np.ndarray:
    """Returns images as evaluation uses them, uint8 ``(N, H, W, 1|3)``.

    Args:
        dataset: The data set.
        split: Name of the split.
        indices: Indices of the images in the split.
        preprocessing: Size and crop of the images.
    """
    examples = dataset.split(split).take(np.array(indices))
    batches = evaluation_batches(examples, preprocessing, len(indices))
    return visible(np.concatenate([np.asarray(images) for images, _ in batches]))


def visible(images: np.ndarray) -> np.ndarray:
    """Returns uint8 images; other channel counts than 1 and 3 become their mean."""
    if images.shape[-1] not in (1, 3):
        images = images.mean(-1, keepdims=True)
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def png(image: np.ndarray, side: int) -> bytes:
    """Returns an image as a PNG file of at most ``side`` × ``side`` pixels."""
    from PIL import Image

    picture = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
