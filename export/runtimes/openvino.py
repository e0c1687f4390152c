"""Runs a SavedModel's ``serving_default``, a .tflite or .onnx file in OpenVINO."""

from pathlib import Path

import numpy as np
import openvino

from export.runtimes import Array, Session, levels

# By default, a CPU with bfloat16 support runs float32 networks in bfloat16.
PROPERTIES = {"INFERENCE_PRECISION_HINT": "f32"}


def open_session(path: Path, kind: str) -> Session:
    """Compiles an artifact for the CPU, in its own precision."""
    del kind
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(str(path)), "CPU", PROPERTIES)
    image = compiled.input(0)
    dtype = image.get_element_type().to_dtype()
    integer = np.issubdtype(dtype, np.integer)

    def classify(images: Array) -> Array:
        given = levels(images, dtype) if integer else images.astype(dtype)
        return np.asarray(compiled(given)[0])

    shape = tuple(d.get_length() for d in list(image.get_partial_shape())[1:])
    return Session(classify, shape)
