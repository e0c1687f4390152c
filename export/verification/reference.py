"""Writes test images for an artifact, with the predictions of the run's model."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from export.verification.compare import ANSWERED, COMPARED, Difference, compare
from keras_resnet.errors import Stopped
from keras_resnet.layer_names import HEAD
from training.data.decoding.images import FILE_CHANNELS
from training.data.pipeline import evaluation_batches
from training.data.preprocessing import Preprocessing
from training.data.types import Tensor
from training.experiment.data import load_run_dataset
from training.experiment.models import load_trained_model
from training.runs.run import Run

BATCH_SIZE = 32
JPEGS = 32  # number of arrays written as JPEG files; the others as PNG


@dataclass(frozen=True)
class Reference:
    """Expected answers for the images in a folder.

    Attributes:
        labels: Classes of the images.
        names: Names of the classes.
        expected: Probabilities by the run's model in float32 for ``"pixels"``, the same
            for ``"features"``, from which the last layer computes probabilities, and
            for ``"bytes"`` of image files, if there are any.
        last: The last, linear layer of the run's model.
    """

    labels: np.ndarray
    names: tuple[str, ...]
    expected: dict[str, np.ndarray]
    last: keras.Layer

    def judge(self, folder: Path, runtime: str) -> dict[str, Difference]:
        """Compares the answers that ``export.worker`` wrote with the expected ones.

        Returns:
            The differences for those of ``"pixels"``, ``"bytes"`` and ``"features"``
            that the runtime supports.

        Raises:
            Stopped: A required answer is missing, has another shape, is not finite, or
                names other classes.
        """
        found = {
            name: np.load(file)
            for name in (*COMPARED, "class_id", "label")
            if (file := folder / f"{runtime}-{name}.npy").is_file()
        }
        able = ANSWERED.get(runtime, COMPARED[:1])
        wanted = [name for name in able if name in self.expected]
        if missing := [name for name in wanted if name not in found]:
            raise Stopped(
                f"not the same network: artifact must return {' and '.join(wanted)} in "
                f"{runtime}, got nothing for {' and '.join(missing)}"
            )
        if runtime == "tensorflow" and "bytes" in wanted:
            self._require_names(found)
        if "features" in found:
            found["features"] = self._probabilities(found["features"])
        return {
            name: compare(self.expected[name], found[name], self.labels)
            for name in wanted
        }

    def _require_names(self, found: dict[str, np.ndarray]) -> None:
        """Raises Stopped unless ids and labels are those of the most probable class."""
        best = found["bytes"].argmax(-1)
        if not np.array_equal(found.get("class_id", ()), best):
            raise Stopped(
                "not the same network: class_id must be the most probable class"
            )
        names = np.array(self.names)[best]
        if not np.array_equal(found.get("label", ()), names):
            raise Stopped("not the same network: label must be the run's for class_id")

    def _probabilities(self, features: np.ndarray) -> np.ndarray:
        """Returns the last layer's probabilities for features ``(N, C)``."""
        needed = tuple(self.last.input.shape[1:])
        if features.shape[1:] != needed:
            raise Stopped(
                f"not the same network: features must be {needed} per image, got "
                f"{features.shape[1:]}"
            )
        return np.asarray(tf.nn.softmax(self.last(features)))


def make_reference(
    run: Run, folder: Path, images: int, dataset: str | None = None
) -> Reference:
    """Writes test images for ``export.worker`` into a folder.

    Args:
        run: A complete run.
        folder: Folder for ``pixels.npy`` and, for 1 or 3 channels, image ``files/``.
        images: Number of images, spread evenly over the test split; at most all.
        dataset: Current location of the run's data set; None: unchanged.
    """
    split = load_run_dataset(run, dataset).split("test")
    count = min(images, len(split))
    split = split.take(np.linspace(0, len(split) - 1, count).astype(int))
    preprocessing = Preprocessing.from_dict(run.config["preprocessing"])
    pixels, labels = next(iter(evaluation_batches(split, preprocessing, count)))
    np.save(folder / "pixels.npy", pixels.numpy().astype(np.float32))
    network = load_trained_model(run)
    by_pixels = _probabilities(network, preprocessing.normalise(pixels))
    expected = {"pixels": by_pixels, "features": by_pixels}
    (folder / "files").mkdir()
    if preprocessing.channels in FILE_CHANNELS:
        expected["bytes"] = by_bytes = by_pixels.copy()
        files = [split.encoded(index) for index in range(count)]
        if split.kind == "pixels":
            files[:JPEGS] = [_jpeg(image) for image in split.images[:JPEGS]]
            decoded = tf.stack([preprocessing.decode(file) for file in files[:JPEGS]])
            by_bytes[:JPEGS] = _probabilities(network, preprocessing.normalise(decoded))
        for index, file in enumerate(files):
            (folder / "files" / f"{index:06}").write_bytes(file)
    names = tuple(run.config["dataset"]["labels"])
    return Reference(labels.numpy(), names, expected, network.get_layer(HEAD))


def _jpeg(image: Tensor) -> bytes:
    return bytes(tf.io.encode_jpeg(image, quality=95).numpy())


def _probabilities(network: keras.Model, inputs: Tensor) -> np.ndarray:
    logits = network.predict(inputs, batch_size=BATCH_SIZE, verbose=0)
    return np.asarray(tf.nn.softmax(tf.cast(logits, tf.float32)))
