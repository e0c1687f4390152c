"""Images as the network sees them, for people to look at."""

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.data.pipeline import TrainingData, evaluation_batches
from training.data.preprocessing import Preprocessing
from training.data.types import Dataset

COUNT = 16


def training_samples(data: TrainingData) -> np.ndarray:
    """Returns the first ``COUNT`` images that a model is trained on, augmented.

    If the data's batches are mixed, these images are mixed with each other. uint8
    ``(N, H, W, 1 or 3)``.
    """
    images, _ = next(iter(replace(data, batch_size=COUNT).batches(epoch=0)))
    return visible(np.asarray(images))


def evaluation_samples(
    dataset: Dataset, split: str, indices: Sequence[int], preprocessing: Preprocessing
) -> np.ndarray:
    """Returns images of a split as evaluation looks at them, likewise."""
    examples = dataset.split(split).take(np.array(indices))
    batches = evaluation_batches(examples, preprocessing, len(indices))
    return visible(np.concatenate([np.asarray(images) for images, _ in batches]))


def visible(images: np.ndarray) -> np.ndarray:
    """Returns uint8 images; of unusual numbers of channels the mean, in grey."""
    if images.shape[-1] not in (1, 3):
        images = images.mean(-1, keepdims=True)
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def png(image: np.ndarray, side: int) -> bytes:
    """Returns an image as a PNG file of at most ``side`` pixels a side."""
    from PIL import Image

    picture = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
