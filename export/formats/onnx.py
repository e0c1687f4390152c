"""Converts a run's SavedModel to an ONNX file."""

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from export.formats import saved_model
from export.formats.single_file import publish, require_place
from export.metadata.description import Description
from keras_resnet import streams
from keras_resnet.errors import UsageError
from training.runs.run import Run

OPSET = 18  # the highest one that tf2onnx 1.17 writes
NEEDED = ("onnx", "tf2onnx", "onnxruntime")


def export(run: Run, out: Path) -> Path:
    """Writes an ONNX file, raw pixels → probabilities, and its manifest.

    The input is ``image``, float32 ``(batch, H, W, C)``, pixels 0–255; the output is
    ``probabilities``. Labels and preprocessing are stored in ``metadata_props``.

    Raises:
        UsageError: The run is incomplete, ``out`` is not a valid .onnx path, the extra
            ``[onnx]`` is not installed, or the disk is full.
    """
    run.require_complete()
    require_place(out, ".onnx")
    require_packages()
    with tempfile.TemporaryDirectory() as folder:
        graph = convert(saved_model.export(run, Path(folder)))
    graph.graph.name = run.config["model"]["name"]
    for name, text in Description.of_run(run.config).files().items():
        graph.metadata_props.add(key=name, value=text)
    facts = {"format": "ONNX", "opset": OPSET}
    publish(graph.SerializeToString(), out, run, facts)
    return out


def require_packages() -> None:
    """Raises UsageError unless the extra ``[onnx]`` is installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"ONNX export requires {', '.join(NEEDED)}, but these are "
            f"not installed: {', '.join(missing)}; pip install 'residual-keras[onnx]'"
        )


def convert(saved: Path) -> Any:
    """Converts the ``serving_default`` of a SavedModel to a checked ``ModelProto``."""
    import onnx
    import tensorflow as tf
    import tf2onnx

    loaded = tf.saved_model.load(str(saved))  # keeps the function's variables alive
    serve = loaded.signatures["serving_default"]
    image = serve.structured_input_signature[1]["image"]
    with streams.descriptor_silenced(2):
        graph, _ = tf2onnx.convert.from_function(
            tf.function(lambda image: serve(image=image), autograph=False),
            [image],
            opset=OPSET,
        )
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.checker.check_model(graph, full_check=True)
    return graph
