"""Adds TensorFlow Lite Metadata to a file, as Android and MediaPipe expect it.

A flatbuffer among the model's buffers describes the input and the output; the files
that it names are in a zip archive behind the model. No package that writes the metadata
is light enough to depend on, so this module writes the few tables, by the slots of
metadata_schema.fbs 1.0.0.
"""

import io
import zipfile
from typing import Any

import flatbuffers
import numpy as np

from export.metadata.description import LABELS, PREPROCESSING, Description

Table = dict[int, Any]  # slot → text, NumPy scalar, Table, list of Tables or of floats
FEATURE, IMAGE = np.uint8(1), np.uint8(2)  # of the union ContentProperties
NORMALIZATION = np.uint8(1)  # of the union ProcessUnitOptions
AXIS_LABELS = np.int8(2)  # of the enum AssociatedFileType
COLOURS = {3: np.int8(1), 1: np.int8(2)}  # of the enum ColorSpaceType


def embed(flatbuffer: bytes, name: str, about: Description) -> bytes:
    """Returns a TFLite file with metadata and the files that the metadata names.

    Args:
        flatbuffer: The file without metadata.
        name: Name of the model.
        about: Labels and preprocessing.
    """
    file = io.BytesIO()
    file.write(_with_metadata(flatbuffer, pack(tables(name, about), b"M001")))
    with zipfile.ZipFile(file, "a") as archive:
        for inside, text in about.files().items():
            # Without a date, so that the same model gives the same file.
            archive.writestr(zipfile.ZipInfo(inside), text)
    return file.getvalue()


def _with_metadata(flatbuffer: bytes, metadata: bytes) -> bytes:
    """Returns a TFLite file with the metadata among its buffers.

    LiteRT has no public API that changes a file. These modules of it are generated from
    TFLite's schema and are not documented; nothing else here uses them.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(flatbuffer)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(metadata, np.uint8)
    entry.name, entry.buffer = "TFLITE_METADATA", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def tables(name: str, about: Description) -> Table:
    """Returns the table ``ModelMetadata``."""
    height, width = about.size
    size = {0: np.uint32(width), 1: np.uint32(height)}
    image = {0: COLOURS.get(about.channels, np.int8(0)), 1: size}
    # Readers normalise by this mean and deviation; the graph itself normalises.
    as_it_is = {0: NORMALIZATION, 1: {0: [0.0], 1: [1.0]}}
    given = {
        0: "image",
        1: "Pixels 0–255",
        3: {0: IMAGE, 1: image},
        4: [as_it_is],
        5: {0: [255.0], 1: [0.0]},
    }
    labels = {0: LABELS, 1: "Names of the classes, one a line", 2: AXIS_LABELS}
    answer = {
        0: "probabilities",
        1: "Probability of each class",
        3: {0: FEATURE, 1: {}},
        5: {0: [1.0], 1: [0.0]},
        6: [labels],
    }
    other = {0: PREPROCESSING, 1: "Size, channels and share of an image looked at"}
    return {0: name, 3: [{2: [given], 3: [answer]}], 6: [other], 7: "1.0.0"}


def pack(table: Table, identifier: bytes) -> bytes:
    """Returns a flatbuffer with ``table`` as its root."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(_table(builder, table), file_identifier=identifier)
    return bytes(builder.Output())


def _table(builder: flatbuffers.Builder, table: Table) -> int:
    # Values that a table refers to are written first.
    inside = {
        slot: _offset(builder, value)
        for slot, value in table.items()
        if not isinstance(value, np.generic)
    }
    builder.StartObject(max(table, default=-1) + 1)
    for slot, value in table.items():
        if slot in inside:
            builder.PrependUOffsetTRelativeSlot(slot, inside[slot], 0)
        else:
            prepend = f"Prepend{type(value).__name__.capitalize()}Slot"
            getattr(builder, prepend)(slot, value.item(), 0)
    return int(builder.EndObject())


def _offset(builder: flatbuffers.Builder, value: Any) -> int:
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, dict):
        return _table(builder, value)
    if isinstance(value[0], float):
        return int(builder.CreateNumpyVector(np.array(value, np.float32)))
    offsets = [_table(builder, item) for item in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
