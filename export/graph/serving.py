"""Builds the exported graph: raw pixels or image files → probabilities and labels."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from export.graph.guard import reject_oversized
from export.graph.options import GraphOptions
from keras_resnet.folding import fold
from keras_resnet.layer_names import HEAD
from training.data.decoding.images import FILE_CHANNELS
from training.data.preprocessing import Preprocessing
from training.data.types import Tensor
from training.experiment.models import load_trained_model
from training.runs.run import Run

PARALLEL_DECODES = 4  # per request; each may need memory for max_pixels
# An image whose pixels sum to more than this would overflow float32 in some layer, and
# each runtime would return something different.
MAX_SUM = 1e20
Network = Callable[[Tensor], Any]  # normalised images -> features and logits


def serving_model(run: Run) -> keras.Model:
    """Returns the run's model in float32, regardless of the precision of training."""
    model = load_trained_model(run)
    model.trainable = False
    return model


def _network(
    model: keras.Model, options: GraphOptions
) -> tuple[Network, list[tf.Variable]]:
    """Returns a function that computes features and logits, and its variables."""
    if options.folded:
        model = fold(model, options.dtype)
    model = type(model)(model.input, [model.get_layer(HEAD).input, model.output])
    if not options.freeze:
        return partial(model, training=False), [v.value for v in model.variables]
    kinds = model.trainable_variables, model.non_trainable_variables
    weights = [[variable.numpy() for variable in kind] for kind in kinds]

    def frozen(x: Tensor) -> Tensor:
        constants = [[tf.constant(weight) for weight in kind] for kind in weights]
        outputs, _ = model.stateless_call(*constants, x, training=False)
        return outputs

    return frozen, []


def nan_where_not_finite(image: Tensor, answer: Tensor) -> Tensor:
    """Replaces the outputs for images with NaN or infinite pixels by NaN.

    The model itself may return numbers: some kernels of ReLU map NaN to 0.

    Args:
        image: Raw pixels ``(N, H, W, C)``.
        answer: Output of the model, float32 ``(N, values)``.

    Returns:
        ``answer`` with NaN in the rows of such images.
    """
    total = tf.reduce_sum(image, (1, 2, 3))
    # A comparison with NaN is false in every runtime, while graph optimisers replace
    # x - x and 0 * x by 0.
    usable = tf.abs(total) < MAX_SUM
    return tf.where(usable[:, tf.newaxis], answer, math.nan)


class Serving(tf.Module):
    """A model together with its preprocessing and labels.

    Args:
        run: A complete run.
        labels_file: File of the labels, one per line, exported as an asset.
        options: Options of the graph.
    """

    def __init__(self, run: Run, labels_file: Path, options: GraphOptions) -> None:
        super().__init__(name="serving")
        config = run.config
        self._max_pixels = options.max_pixels
        self._preprocessing = Preprocessing.from_dict(config["preprocessing"])
        self._labels = tf.constant(config["dataset"]["labels"])
        self._asset = tf.saved_model.Asset(str(labels_file))
        # A SavedModel stores the variables tracked here. The model itself, as an
        # attribute, would be stored too, with its variables a second time.
        self._network, self._variables = _network(serving_model(run), options)
        shape = (None, *self._preprocessing.input_shape)
        image = tf.TensorSpec(shape, tf.float32, "image")
        image_bytes = tf.TensorSpec((None,), tf.string, "image_bytes")
        # All signatures share one function, so that constants are stored once.
        self.outputs = tf.function(self._compute, [image], autograph=False)
        self.classify = tf.function(self._classify, [image], autograph=False)
        self.features = tf.function(self._features, [image], autograph=False)
        self.classify_bytes = tf.function(
            self._classify_bytes, [image_bytes], autograph=False
        )

    @property
    def signatures(self) -> dict[str, Any]:
        """The SavedModel's signatures."""
        signatures = {"serving_default": self.classify, "features": self.features}
        if self._preprocessing.channels in FILE_CHANNELS:
            signatures["classify_bytes"] = self.classify_bytes
        return signatures

    def _classify(self, image: Tensor) -> dict[str, Tensor]:
        _, probabilities = self._answer(image)
        return {"probabilities": probabilities}

    def _features(self, image: Tensor) -> dict[str, Tensor]:
        features, _ = self._answer(image)
        return {"features": features}

    def _answer(self, image: Tensor) -> list[Tensor]:
        """Returns features and probabilities of zero or more images.

        TensorFlow does not compare a client's input with the signature: another rank
        crashed the process in oneDNN, another height or width got an answer. oneDNN's
        convolutions reject an empty batch, so it is extended by a black image.
        """
        shape = self._preprocessing.input_shape
        image = tf.ensure_shape(image, (None, *shape))
        count = tf.shape(image)[0]
        filler = tf.zeros((tf.maximum(1 - count, 0), *shape))
        outputs = self.outputs(tf.concat([image, filler], 0))
        return [nan_where_not_finite(image, output[:count]) for output in outputs]

    def _classify_bytes(self, image_bytes: Tensor) -> dict[str, Tensor]:
        pixels = tf.map_fn(
            lambda data: self._preprocessing.decode(
                reject_oversized(data, self._max_pixels)
            ),
            image_bytes,
            fn_output_signature=tf.uint8,
            parallel_iterations=PARALLEL_DECODES,
        )
        _, probabilities = self._answer(tf.cast(pixels, tf.float32))
        class_id = tf.argmax(probabilities, -1)
        return {
            "probabilities": probabilities,
            "class_id": class_id,
            "label": tf.gather(self._labels, class_id),
        }

    def _compute(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Maps raw pixels to float32 features ``(N, C)`` and probabilities."""
        x = self._preprocessing.normalise(image)
        features, logits = self._network(x)
        return tf.cast(features, tf.float32), tf.nn.softmax(logits)
