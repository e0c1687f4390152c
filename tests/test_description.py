"""An artifact says what its labels are and how an image file becomes pixels."""

import io
import json
import sys
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from flatbuffers.table import Table
from onnx import TensorProto, helper

from export.formats.tflite_metadata import pack, tables
from export.load import Artifact
from export.metadata import description, manifest
from export.metadata.description import MAX_BYTES, Description, read

ABOUT = Description(("cat", "Hündin", "fish"), (12, 8), 3, 0.875)


def test_files_say_it_all() -> None:
    texts = ABOUT.files()
    assert texts["labels.txt"] == "cat\nHündin\nfish\n"
    values = {"size": [12, 8], "channels": 3, "crop": 0.875}
    assert Description.of(texts["labels.txt"].splitlines(), values) == ABOUT
    config = {"dataset": {"labels": list(ABOUT.labels)}, "preprocessing": values}
    assert Description.of_run(config) == ABOUT


@pytest.mark.parametrize("kind", ["SavedModel", "TFLite"])
def test_an_artifact_without_it_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="must contain its labels"):
        read(Artifact(path, kind))


def test_a_tflite_archive_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"a model")
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in ABOUT.files().items():
            archive.writestr(name, text)
    assert read(Artifact(path, "TFLite")) == ABOUT
    assert path.read_bytes().startswith(b"a model")


@pytest.fixture
def onnx_model() -> bytes:
    """As many kinds of fields as a message can have, with metadata among them."""
    node = helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.5)
    kernel = helper.make_tensor("w", TensorProto.DOUBLE, [300], np.arange(300.0))
    graph = helper.make_graph([node], "graph", [], [], [kernel])
    model = helper.make_model(graph)
    for name, text in ABOUT.files().items():
        model.metadata_props.add(key=name, value=text)
    model.opset_import.add(domain="x", version=2**40)
    return bytes(model.SerializeToString())


def test_onnx_is_read_without_a_runtime(
    onnx_model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnx", "onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_model)
    assert read(Artifact(path, "ONNX")) == ABOUT


def test_damaged_onnx_is_refused(onnx_model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for data in (
        onnx_model[:-30],
        onnx_model[:-1] + b"\xff",
        b"nonsense",
        b"",
        b"\xf7",
        b"\xff" * 300_000,  # a number that never ends
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="must contain its labels"):
            read(Artifact(path, "ONNX"))


def test_labels_end_at_line_feeds_only(tmp_path: Path) -> None:
    about = replace(ABOUT, labels=("a\u2028b", "c\x0bd", "e"))
    path = tmp_path / "model.tflite"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in about.files().items():
            archive.writestr(name, text)
    assert read(Artifact(path, "TFLite")) == about


VALUES: dict[str, Any] = {"size": [12, 8], "channels": 3, "crop": 0.875}


def archive(path: Path, labels: bytes, preprocessing: str, **options: Any) -> Artifact:
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("labels.txt", labels)
        archive.writestr("preprocessing.json", preprocessing)
    return Artifact(path, "TFLite")


@pytest.mark.parametrize(
    "labels",
    [
        b"\xef\xbb\xbfcat\nH\xc3\xbcndin\nfish\n",  # with a byte order mark
        b"cat\r\nH\xc3\xbcndin\r\nfish\r\n",
        b"cat\nH\xc3\xbcndin\nfish",
    ],
)
@pytest.mark.parametrize("kind", ["SavedModel", "TFLite"])
def test_labels_of_other_programs_are_read(
    kind: str, labels: bytes, tmp_path: Path
) -> None:
    if kind == "TFLite":
        artifact = archive(tmp_path / "a.tflite", labels, json.dumps(VALUES))
    else:
        (tmp_path / "assets").mkdir()
        (tmp_path / "assets" / "labels.txt").write_bytes(labels)
        manifest.write(tmp_path, {"run": {"preprocessing": VALUES}})
        artifact = Artifact(tmp_path, kind)
    assert read(artifact) == ABOUT


def test_a_line_without_a_label_is_refused(tmp_path: Path) -> None:
    artifact = archive(tmp_path / "a.tflite", b"cat\n\nfish\n", json.dumps(VALUES))
    with pytest.raises(ValueError, match="labels must not be empty, got line 2"):
        read(artifact)


def test_other_members_of_an_archive_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in ABOUT.files().items():
            file.writestr(name, text)
        file.writestr("other", b"\xff not UTF-8" + bytes(MAX_BYTES))
    assert read(Artifact(path, "TFLite")) == ABOUT


def peak(path: Path) -> int:
    """Bytes of memory that a refused artifact took."""
    tracemalloc.start()
    with pytest.raises(ValueError, match="must contain its labels"):
        read(Artifact(path, "TFLite"))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_a_small_archive_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(description, "MAX_BYTES", 2**16)
    path = tmp_path / "a.tflite"
    packed = {"compression": zipfile.ZIP_DEFLATED}
    archive(path, b"a\n" * 2**22, json.dumps(VALUES), **packed)
    assert path.stat().st_size < 2**16
    assert peak(path) < 2**21


@pytest.mark.parametrize(
    "preprocessing",
    [
        *("[]", "{}", "[" * 100_000, '{"size": 3}'),
        *(
            json.dumps({**VALUES, **change})
            for change in (
                *({"size": [100_000, 100_000]}, {"size": [0, 8]}, {"size": ["a", 8]}),
                *({"size": [1.5, 8]}, {"channels": 0}, {"channels": None}),
                *({"crop": 0}, {"crop": 2}, {"crop": "1"}, {"crop": float("nan")}),
            )
        ),
    ],
)
def test_preprocessing_out_of_range_is_refused(
    preprocessing: str, tmp_path: Path
) -> None:
    artifact = archive(tmp_path / "a.tflite", b"cat\n", preprocessing)
    with pytest.raises(ValueError, match="must contain its labels"):
        read(artifact)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    archive(path, b"cat\n", json.dumps(VALUES))
    data = bytearray(path.read_bytes())
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + flags] |= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"must contain its labels.*encrypted"):
        read(Artifact(path, "TFLite"))


class Reader:
    """Reads a flatbuffer's tables by slot, as generated code does."""

    def __init__(self, data: bytes, position: int) -> None:
        self.table = Table(data, position)

    @classmethod
    def root(cls, data: bytes) -> "Reader":
        return cls(data, int.from_bytes(data[:4], "little"))

    def at(self, slot: int) -> int:
        offset = self.table.Offset(4 + 2 * slot)
        assert offset, f"no slot {slot}"
        return int(offset + self.table.Pos)

    def text(self, slot: int) -> str:
        return bytes(self.table.String(self.at(slot))).decode()

    def sub(self, slot: int) -> "Reader":
        return Reader(self.table.Bytes, self.table.Indirect(self.at(slot)))

    def item(self, slot: int, index: int = 0) -> "Reader":
        start = self.table.Vector(self.at(slot) - self.table.Pos) + 4 * index
        return Reader(self.table.Bytes, self.table.Indirect(start))

    def floats(self, slot: int) -> list[float]:
        flags = flatbuffers.number_types.Float32Flags
        found = self.table.GetVectorAsNumpy(flags, self.at(slot) - self.table.Pos)
        return [float(x) for x in found]

    def number(self, slot: int, flags: Any) -> int:
        return int(self.table.Get(flags, self.at(slot)))


def test_metadata_have_the_schemas_slots() -> None:
    data = pack(tables("resnet20", ABOUT), b"M001")
    assert data[4:8] == b"M001"
    flags = flatbuffers.number_types
    root = Reader.root(data)
    assert (root.text(0), root.text(7)) == ("resnet20", "1.0.0")
    assert root.item(6).text(0) == "preprocessing.json"
    graph = root.item(3)
    image, answer = graph.item(2), graph.item(3)
    assert (image.text(0), answer.text(0)) == ("image", "probabilities")
    content = image.sub(3)
    assert content.number(0, flags.Uint8Flags) == 2, "ImageProperties"
    assert content.sub(1).number(0, flags.Int8Flags) == 1, "RGB"
    size = content.sub(1).sub(1)
    assert [size.number(i, flags.Uint32Flags) for i in (0, 1)] == [8, 12]
    unit = image.item(4)
    assert unit.number(0, flags.Uint8Flags) == 1, "NormalizationOptions"
    assert (unit.sub(1).floats(0), unit.sub(1).floats(1)) == ([0.0], [1.0])
    assert image.sub(5).floats(0) == [255.0]
    labels = answer.item(6)
    assert labels.text(0) == "labels.txt"
    assert labels.number(2, flags.Int8Flags) == 2, "TENSOR_AXIS_LABELS"
    grey = tables("x", Description(("a",), (8, 8), 1, 1.0))
    assert grey[3][0][2][0][3][1][0] == np.int8(2), "GRAYSCALE"


def test_an_archive_behind_it_is_no_part_of_the_flatbuffer() -> None:
    from export.formats.tflite_metadata import embed

    first = embed(_smallest_model(), "resnet20", ABOUT)
    assert first == embed(_smallest_model(), "resnet20", ABOUT), "reproducible"
    assert first[4:8] == b"TFL3"
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.read("labels.txt").decode() == "cat\nHündin\nfish\n"


def _smallest_model() -> bytes:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = schema.ModelT()
    model.version = 3
    model.buffers, model.subgraphs, model.operatorCodes = [schema.BufferT()], [], []
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
