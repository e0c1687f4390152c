"""Reads a SavedModel without loading it, by parts of TensorFlow that are not public.

All uses of such parts in ``export`` are here.
"""

from pathlib import Path
from typing import Any


def read_meta_graphs(path: Path) -> list[Any]:
    """Returns the ``MetaGraphDef`` messages of a SavedModel.

    The public ``tf.saved_model.load`` would also run the graph's initialisation, and
    ``tf.compat.v1`` has the class ``MetaGraphDef`` but not that of the file.

    Args:
        path: The version folder.

    Raises:
        OSError: The graph cannot be read.
        ValueError: The file holds no graph.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = path / "saved_model.pb"
    try:
        found = list(SavedModel.FromString(file.read_bytes()).meta_graphs)
    except DecodeError:
        found = []
    if not found:
        raise ValueError(f"no graph in {file}")
    return found


def is_operation(name: str) -> bool:
    """Returns whether TensorFlow has an operation of a name.

    The public ``tf.raw_ops`` omits a quarter of them, such as those of XLA.
    """
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(name) is not None
