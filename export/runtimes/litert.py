"""Runs a .tflite file in LiteRT, the runtime of phones."""

import os
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from export.runtimes import Array, Session, levels


def open_session(path: Path) -> Session:
    """Loads the ``serving_default`` of a .tflite file, to run on all cores."""
    return session(Interpreter(str(path), num_threads=os.cpu_count()))


def session(interpreter: Interpreter) -> Session:
    """Returns a session that converts pixels to the input dtype of an interpreter."""
    interpreter.allocate_tensors()
    (image,), (output,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    integer = np.issubdtype(image["dtype"], np.integer)

    def classify(images: Array) -> Array:
        shape = interpreter.get_input_details()[0]["shape"]
        if not np.array_equal(shape, images.shape):
            interpreter.resize_tensor_input(image["index"], images.shape, strict=True)
            interpreter.allocate_tensors()
        dtype = image["dtype"]
        given = levels(images, dtype) if integer else images.astype(dtype)
        interpreter.set_tensor(image["index"], given)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(output["index"]))

    return Session(classify, tuple(map(int, image["shape"][1:])))
