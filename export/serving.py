"""The graph that is served: raw pixels or files in, probabilities and labels out."""

from pathlib import Path

import keras
import tensorflow as tf

from keras_resnet.models import create_model, load_model
from training.images import FILE_CHANNELS, Tensor
from training.preprocessing import Preprocessing
from training.runs import Run


def serving_model(run: Run) -> keras.Model:
    """Returns the run's network in float32, whatever precision it was trained in."""
    trained = load_model(run.model)
    facts = run.config["model"]
    model = create_model(
        facts["name"],
        input_shape=tuple(facts["input_shape"]),
        classes=facts["classes"],
        dtype="float32",
        **run.recipe.spec_fields,
    )
    model.set_weights(trained.get_weights())
    model.trainable = False
    return model


class Serving(tf.Module):
    """The network between its preprocessing and its labels.

    Args:
        run: A complete run.
        labels_file: The labels, one a line, kept beside the graph as an asset.
    """

    def __init__(self, run: Run, labels_file: Path) -> None:
        super().__init__(name="serving")
        config = run.config
        self._prepared = Preprocessing.from_dict(config["preprocessing"])
        self._labels = tf.constant(config["dataset"]["labels"])
        self._asset = tf.saved_model.Asset(str(labels_file))
        self._network = serving_model(run)
        # What a SavedModel stores are the variables tracked here.
        self._variables = [variable.value for variable in self._network.variables]
        image = tf.TensorSpec((None, *self._prepared.input_shape), tf.float32, "image")
        image_bytes = tf.TensorSpec((None,), tf.string, "image_bytes")
        self.classify = tf.function(self._classify, [image])
        self.classify_bytes = tf.function(self._classify_bytes, [image_bytes])

    @property
    def signatures(self) -> dict[str, object]:
        """The SavedModel's signatures."""
        signatures = {"serving_default": self.classify}
        if self._prepared.channels in FILE_CHANNELS:
            signatures["classify_bytes"] = self.classify_bytes
        return signatures

    def _classify(self, image: Tensor) -> dict[str, Tensor]:
        return {"probabilities": self._probabilities(image)}

    def _classify_bytes(self, image_bytes: Tensor) -> dict[str, Tensor]:
        pixels = tf.map_fn(
            self._prepared.decode, image_bytes, fn_output_signature=tf.uint8
        )
        probabilities = self._probabilities(pixels)
        class_id = tf.argmax(probabilities, -1)
        return {
            "probabilities": probabilities,
            "class_id": class_id,
            "label": tf.gather(self._labels, class_id),
        }

    def _probabilities(self, pixels: Tensor) -> Tensor:
        logits = self._network(self._prepared.normalise(pixels), training=False)
        return tf.nn.softmax(logits)
