"""Runs an .onnx file in ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnxruntime

from export.runtimes import Array, Session


def open_session(path: Path) -> Session:
    """Loads an .onnx file, on a GPU if this build of ONNX Runtime supports one."""
    providers = onnxruntime.get_available_providers()
    wanted = [p for p in PROVIDERS if p in providers]
    session = onnxruntime.InferenceSession(str(path), providers=wanted)
    (image,) = session.get_inputs()

    def classify(images: Array) -> Array:
        (probabilities,) = session.run(None, {image.name: images.astype(np.float32)})
        return np.asarray(probabilities)

    device = "GPU" if session.get_providers()[0] == PROVIDERS[0] else "CPU"
    return Session(classify, tuple(image.shape[1:]), device=device)


# TensorRT and others compile for minutes or round more coarsely, so they are omitted.
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
