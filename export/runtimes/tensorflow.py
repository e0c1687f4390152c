"""TensorFlow on a SavedModel."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from export.runtimes import Array, Session


def open_session(path: Path, kind: str) -> Session:
    """Loads a SavedModel's ``serving_default`` and ``classify_bytes``.

    Any SavedModel whose ``serving_default`` maps one image batch to one output will do,
    say one of Keras' own ``model.export``.
    """
    del kind  # SavedModel
    loaded = tf.saved_model.load(str(path))
    pixels = loaded.signatures["serving_default"]
    files = loaded.signatures.get("classify_bytes")
    ((name, image),) = pixels.structured_input_signature[1].items()
    outputs = set(pixels.structured_outputs)
    (output,) = outputs & {"probabilities"} or outputs

    def classify(images: Array) -> Array:
        given = tf.constant(images, image.dtype)
        return np.asarray(pixels(**{name: given})[output])

    def classify_files(data: list[bytes]) -> Array:
        try:
            return np.asarray(files(image_bytes=tf.constant(data))["probabilities"])
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(_reason(error.message)) from None

    shape = tuple(image.shape.as_list()[1:])
    # The function holds its variables by weak references: keep what owns them.
    classify.loaded = loaded
    return Session(classify, shape, classify_files if files else None)


def _reason(message: str) -> str:
    """Of a message with the graph's nodes around it, what the operation said."""
    said = message.strip().splitlines()[0].split("}} ")[-1]
    return said.removeprefix("assertion failed: ")
