"""Writes what TensorBoard shows of a run."""

import shutil

import keras
import numpy as np
import tensorflow as tf

from training.engine.callbacks.run_files import RunFilesCallback
from training.engine.progress import Progress
from training.evaluation.predictions import Logs
from training.runs.run import Run

GRAPH_LAYERS = 1000  # TensorBoard's drawing of a larger graph is unreadable


class Scalars(RunFilesCallback):
    """Writes TensorBoard's curves under the names that Keras uses."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Rewrites the curves of all finished epochs."""
        self._writers = {}
        for name in ("train", "validation"):
            folder = self._run.tensorboard / name
            shutil.rmtree(folder, ignore_errors=True)
            self._writers[name] = tf.summary.create_file_writer(str(folder))
        for epoch, row in enumerate(self._progress.history):
            self.on_epoch_end(epoch, row)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Adds a point to each curve."""
        for name, value in (logs or {}).items():
            writer = "validation" if name.startswith("val_") else "train"
            with self._writers[writer].as_default():
                tf.summary.scalar(f"epoch_{name.removeprefix('val_')}", value, epoch)
        for written in self._writers.values():
            written.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Closes the files."""
        for writer in self._writers.values():
            writer.close()


class Overview(RunFilesCallback):
    """Writes training images, the model's graph and the hyperparameters (HParams).

    Args:
        run: The run's folder.
        progress: The position of the checkpoint.
        images: Some images of the first epoch, uint8 ``(N, H, W, 1 or 3)``.
    """

    def __init__(self, run: Run, progress: Progress, images: np.ndarray) -> None:
        super().__init__(run, progress)
        self._images = images

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Rewrites the images, the graph and the hyperparameters."""
        from tensorboard.plugins.hparams import api

        folder = self._run.tensorboard
        for old in folder.glob("events.*"):
            old.unlink()
        # TensorBoard treats the curves in subfolders as the results of these
        # hyperparameters.
        with tf.summary.create_file_writer(str(folder)).as_default() as writer:
            tf.summary.image(
                "trained on", self._images, step=0, max_outputs=len(self._images)
            )
            traceable = keras.backend.backend() == "tensorflow"
            if traceable and len(self.model.layers) <= GRAPH_LAYERS:
                tf.summary.graph(self._graph())
            values = self._run.recipe.to_dict().items()
            simple = bool | int | float | str
            api.hparams({k: v if isinstance(v, simple) else str(v) for k, v in values})
        writer.close()

    def _graph(self) -> tf.Graph:
        images = tf.TensorSpec(self.model.input_shape, tf.float32, name="images")

        @tf.function(autograph=False)
        def network(images: tf.Tensor) -> tf.Tensor:
            return self.model(images, training=False)

        return network.get_concrete_function(images).graph
