"""Runs a SavedModel's ``serving_default``, a .tflite or .onnx file in OpenVINO."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino

from export.runtimes import Array, Session, levels

# By default, a CPU with bfloat16 support runs float32 networks in bfloat16.
PROPERTIES = {"INFERENCE_PRECISION_HINT": "f32"}


def open_session(path: Path) -> Session:
    """Compiles an artifact for the CPU, in its own precision."""
    core = openvino.Core()
    # OpenVINO gives the thread that compiles another stack for signals and frees it too
    # early. In the main thread, the next signal, such as Ctrl-C, would end the process.
    with ThreadPoolExecutor(1) as thread:
        compiled = thread.submit(
            core.compile_model, core.read_model(str(path)), "CPU", PROPERTIES
        ).result()
    image = compiled.input(0)
    dtype = image.get_element_type().to_dtype()
    integer = np.issubdtype(dtype, np.integer)

    def classify(images: Array) -> Array:
        given = levels(images, dtype) if integer else images.astype(dtype)
        return np.asarray(compiled(given)[0])

    shape = tuple(d.get_length() for d in list(image.get_partial_shape())[1:])
    return Session(classify, shape)
