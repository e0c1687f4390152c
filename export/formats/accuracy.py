"""Measures the accuracy of a run before and after its conversion to TFLite."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export.worker import BATCH_SIZE
from keras_resnet import streams
from training.runs.run import Run

if TYPE_CHECKING:
    from training.data.types import Dataset


@dataclass(frozen=True)
class Accuracy:
    """Share of test images classified correctly.

    Attributes:
        before: Share for the run's model in float32.
        after: Share for the file in LiteRT.
        images: Number of test images.
    """

    before: float
    after: float
    images: int

    @property
    def drop(self) -> float:
        """Loss of accuracy in points."""
        return 100 * (self.before - self.after)


def measure_accuracy(
    saved: Path, flatbuffer: bytes, run: Run, data: "Dataset", images: int | None
) -> Accuracy:
    """Classifies test images by a SavedModel and by the TFLite file made of it.

    Args:
        saved: Version folder of the SavedModel.
        flatbuffer: The TFLite file.
        run: The run that both were exported from.
        data: The run's data set.
        images: Number of test images, spread evenly; None: all.
    """
    from ai_edge_litert.interpreter import Interpreter
    from tqdm import tqdm

    from export.runtimes import litert, tensorflow
    from training.data.pipeline import evaluation_batches
    from training.data.preprocessing import Preprocessing

    before = tensorflow.open_session(saved)
    with streams.descriptor_silenced(2):  # LiteRT logs to stderr
        after = litert.session(
            Interpreter(model_content=flatbuffer, num_threads=os.cpu_count())
        )
    split = data.split("test")
    if images is not None and images < len(split):
        split = split.take(np.linspace(0, len(split) - 1, images).astype(int))
    preprocessing = Preprocessing.from_dict(run.config["preprocessing"])
    right = {"before": 0, "after": 0}
    batches = evaluation_batches(split, preprocessing, BATCH_SIZE)
    bar = tqdm(batches.as_numpy_iterator(), "accuracy", disable=None, leave=False)
    for pixels, labels in bar:
        for name, session in {"before": before, "after": after}.items():
            best = session.classify(pixels.astype(np.float32)).argmax(-1)
            right[name] += int((best == labels).sum())
    shares = {name: count / len(split) for name, count in right.items()}
    return Accuracy(**shares, images=len(split))
