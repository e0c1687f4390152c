"""TensorFlow on a SavedModel."""

import re
from pathlib import Path

import numpy as np
import tensorflow as tf

from export.runtimes import Array, Session


def open_session(path: Path, kind: str) -> Session:
    """Loads a SavedModel's ``serving_default`` and ``classify_bytes``.

    Any SavedModel will do whose ``serving_default`` maps a batch of images to one
    output, say one of Keras' own ``model.export``.
    """
    del kind  # SavedModel
    # A signature does not keep its variables alive; what was loaded does.
    loaded = tf.saved_model.load(str(path))
    pixels = loaded.signatures["serving_default"]
    ((name, image),) = pixels.structured_input_signature[1].items()
    outputs = set(pixels.structured_outputs)
    (output,) = outputs & {"probabilities"} or outputs

    def classify(images: Array) -> Array:
        given = tf.constant(images, image.dtype)
        return np.asarray(loaded.signatures["serving_default"](**{name: given})[output])

    def classify_files(data: list[bytes]) -> Array:
        files = loaded.signatures["classify_bytes"]
        try:
            return np.asarray(files(image_bytes=tf.constant(data))["probabilities"])
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(_reason(error.message)) from None

    decodes = "classify_bytes" in loaded.signatures
    return Session(
        classify,
        shape=tuple(image.shape.as_list()[1:]),
        classify_files=classify_files if decodes else None,
        device="GPU" if tf.config.list_physical_devices("GPU") else "CPU",
    )


def _reason(message: str) -> str:
    """Of a message with the graph's nodes around it, what the operation said."""
    lines = message.partition("\n\t [[")[0].splitlines()
    said = re.sub(r"^assertion failed: |[][]", "", lines[-1])
    return said.split("}} ")[-1]
