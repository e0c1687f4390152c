"""Runs a SavedModel in TensorFlow."""

import re
from pathlib import Path

import numpy as np
import tensorflow as tf

from export.runtimes import Array, Session

ANSWERS = ("probabilities", "class_id", "label")  # of classify_bytes


def open_session(path: Path) -> Session:
    """Loads a SavedModel's ``serving_default``, ``classify_bytes`` and ``features``.

    It accepts any SavedModel whose ``serving_default`` maps a batch of images to one
    output, for example one of Keras' own ``model.export``.
    """
    # Only the loaded object keeps the variables of its signatures alive.
    loaded = tf.saved_model.load(str(path))
    pixels = loaded.signatures["serving_default"]
    ((name, image),) = pixels.structured_input_signature[1].items()
    outputs = set(pixels.structured_outputs)
    (output,) = outputs & {"probabilities"} or outputs

    def classify(images: Array) -> Array:
        given = tf.constant(images, image.dtype)
        return np.asarray(loaded.signatures["serving_default"](**{name: given})[output])

    def classify_files(data: list[bytes]) -> dict[str, Array]:
        files = loaded.signatures["classify_bytes"]
        try:
            answer = files(image_bytes=tf.constant(data, tf.string))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(_reason(error.message)) from None
        found = {key: answer[key].numpy() for key in ANSWERS if key in answer}
        if "label" in found:
            found["label"] = np.array([label.decode() for label in found["label"]])
        return found

    def features(images: Array) -> Array:
        given = tf.constant(images, tf.float32)
        return np.asarray(loaded.signatures["features"](image=given)["features"])

    signatures = set(loaded.signatures)
    return Session(
        classify,
        shape=tuple(image.shape.as_list()[1:]),
        classify_files=classify_files if "classify_bytes" in signatures else None,
        features=features if "features" in signatures else None,
        device="GPU" if tf.config.list_physical_devices("GPU") else "CPU",
    )


def _reason(message: str) -> str:
    """Extracts an operation's own message from one with the graph's nodes around it."""
    lines = message.partition("\n\t [[")[0].splitlines()
    reason = re.sub(r"^assertion failed: |[][]", "", lines[-1])
    return reason.split("}} ")[-1]
