"""Test images for an artifact to classify, and what the run's network says of them."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from training.images import FILE_CHANNELS, Tensor
from training.network import trained_network
from training.pipeline import evaluation_batches
from training.preprocessing import Preprocessing
from training.runs import Run
from training.sources import run_data

BATCH_SIZE = 32
JPEGS = 32  # how many stored pixels are given as JPEG files, the others as PNG


@dataclass(frozen=True)
class Question:
    """Images in a folder, and the answers.

    Attributes:
        labels: The images' classes.
        expected: Probabilities by the run's weights in float32, for ``"pixels"`` and
            for ``"bytes"`` of image files.
    """

    labels: np.ndarray
    expected: dict[str, np.ndarray]


def ask(run: Run, folder: Path, images: int) -> Question:
    """Writes test images for ``export.worker`` into a folder.

    Args:
        run: A complete run.
        folder: Gets ``pixels.npy`` and, where they are of 1 or 3 channels, ``files/``.
        images: How many, spread evenly over the test split; all if it has fewer.
    """
    split = run_data(run).split("test")
    count = min(images, len(split))
    split = split.take(np.linspace(0, len(split) - 1, count).astype(int))
    prepared = Preprocessing.from_dict(run.config["preprocessing"])
    pixels, labels = next(iter(evaluation_batches(split, prepared, count)))
    np.save(folder / "pixels.npy", pixels.numpy().astype(np.float32))
    network = trained_network(run)
    expected = _probabilities(network, prepared.normalise(pixels))
    (folder / "files").mkdir()
    by_bytes = expected.copy()
    if prepared.channels in FILE_CHANNELS:
        files = [split.encoded(index) for index in range(count)]
        if split.kind == "pixels":
            files[:JPEGS] = [_jpeg(image) for image in split.images[:JPEGS]]
            decoded = tf.stack([prepared.decode(file) for file in files[:JPEGS]])
            by_bytes[:JPEGS] = _probabilities(network, prepared.normalise(decoded))
        for index, file in enumerate(files):
            (folder / "files" / f"{index:06}").write_bytes(file)
    return Question(labels.numpy(), {"pixels": expected, "bytes": by_bytes})


def _jpeg(image: Tensor) -> bytes:
    return bytes(tf.io.encode_jpeg(image, quality=95).numpy())


def _probabilities(network: keras.Model, inputs: Tensor) -> np.ndarray:
    logits = network.predict(inputs, batch_size=BATCH_SIZE, verbose=0)
    return np.asarray(tf.nn.softmax(tf.cast(logits, tf.float32)))
