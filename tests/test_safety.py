"""A SavedModel that would do more than compute is told by its graph."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework import op_def_registry

from export import safety

Function = Callable[[tf.Tensor], tf.Tensor]


def write_file(x: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.io.write_file("written", "")]):
        return x + 1.0


def write_in_a_branch(x: tf.Tensor) -> tf.Tensor:
    return tf.cond(tf.reduce_sum(x) > 1e6, lambda: write_file(x), lambda: x)


def restore(x: tf.Tensor) -> tf.Tensor:
    return x + tf.raw_ops.RestoreV2(
        prefix="/elsewhere", tensor_names=["a"], shape_and_slices=[""], dtypes=[x.dtype]
    )


def read_file(x: tf.Tensor) -> tf.Tensor:
    return x + tf.cast(tf.strings.length(tf.io.read_file("secret")), tf.float32)


def call_python(x: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tf.py_function(lambda x: x, [x], tf.float32), x.shape)


def print_to_file(x: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.print(x, output_stream="file://printed")]):
        return tf.identity(x)


def read_data(x: tf.Tensor) -> tf.Tensor:
    data = tf.data.TextLineDataset("secret").map(tf.strings.length)
    return x + tf.cast(data.reduce(0, lambda a, b: a + b), tf.float32)


EFFECTS: dict[str, Function] = {
    "WriteFile": write_file,
    "ReadFile": read_file,
    "RestoreV2": restore,
    "EagerPyFunc": call_python,
    "PrintV2": print_to_file,
    "TextLineDataset": read_data,
    "RandomUniform": lambda x: x + tf.random.uniform(()),
    "MatchingFiles": lambda x: x + tf.cast(tf.size(tf.io.matching_files("*")), x.dtype),
}


def save(function: Function, path: Path) -> Path:
    module = tf.Module()
    module.variable = tf.Variable([1.0, 2.0])

    def called(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": function(x * module.variable)}

    module.call = tf.function(called, [tf.TensorSpec((None, 2), tf.float32, "x")])
    tf.saved_model.save(module, str(path), module.call)
    return path


@pytest.mark.parametrize("op", EFFECTS)
def test_effects_are_flagged(op: str, tmp_path: Path) -> None:
    found = safety.flagged(save(EFFECTS[op], tmp_path))
    assert [line for line in found if line.startswith(f"{op} in function ")], found
    assert not Path("written").exists()


def test_effects_in_a_branch_are_flagged(tmp_path: Path) -> None:
    (found,) = safety.flagged(save(write_in_a_branch, tmp_path))
    assert re.fullmatch(r"WriteFile in function \w*cond_true\w*", found)


def test_variables_and_control_flow_are_not(tmp_path: Path) -> None:
    def harmless(x: tf.Tensor) -> tf.Tensor:
        tf.debugging.Assert(tf.size(x) > 0, ["none"])
        return tf.map_fn(tf.nn.relu, x)

    path = save(harmless, tmp_path)
    assert safety.flagged(path) == []
    assert {"SaveV2", "RestoreV2", "Relu", "VarHandleOp"} < safety.op_types(path)


def change(path: Path, edit: Callable[[Any], object]) -> None:
    file = path / "saved_model.pb"
    saved = SavedModel.FromString(file.read_bytes())
    edit(saved.meta_graphs[0].graph_def)
    file.write_bytes(saved.SerializeToString())


def test_checkpointing_called_by_the_graph_is_flagged(tmp_path: Path) -> None:
    path = save(tf.nn.relu, tmp_path)

    def call_the_saver(graph: Any) -> None:
        names = [f.signature.name for f in graph.library.function]
        saver = next(name for name in names if "traced_save" in name)
        node = graph.node.add(name="again", op="PartitionedCall")
        node.attr["f"].func.name = saver

    change(path, call_the_saver)
    assert any(line.startswith("SaveV2 in function") for line in safety.flagged(path))


def test_writing_while_it_is_restored_is_flagged(tmp_path: Path) -> None:
    path = save(tf.nn.relu, tmp_path)

    def save_in_restore(graph: Any) -> None:
        functions = {f.signature.name: f for f in graph.library.function}
        (saver,) = (f for name, f in functions.items() if "traced_save" in name)
        (restorer,) = (f for name, f in functions.items() if "traced_restore" in name)
        restorer.node_def.extend(n for n in saver.node_def if n.op == "SaveV2")

    change(path, save_in_restore)
    assert [line.split("_restore")[0] for line in safety.flagged(path)] == [
        "SaveV2 in function __inference__traced"
    ]


@pytest.mark.parametrize("name", ["saved_model.cpb", "saved_model.pbtxt"])
def test_a_second_graph_is_refused(name: str, tmp_path: Path) -> None:
    path = save(tf.nn.relu, tmp_path)
    (path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=f"must hold one graph, got .*{name} too"):
        safety.flagged(path)


def test_unknown_operations_are_flagged(tmp_path: Path) -> None:
    path = save(tf.nn.relu, tmp_path)
    change(path, lambda graph: graph.node.add(name="new", op="FromALibrary"))
    change(path, lambda graph: graph.node.add(name="send", op="_HostSend"))
    assert safety.flagged(path) == [
        "FromALibrary in the graph",
        "_HostSend in the graph",
    ]


# Names of inputs and attributes that may be a file's or an address.
PLACES = re.compile("file|_urls|address|memory_region|descriptor_source|debug_ops")
PLACELESS = {"ShardedFilename", "ShardedFilespec"}  # make a name and nothing of it


def test_every_operation_that_takes_a_file_or_address_is_flagged() -> None:
    for op in filter(str.isidentifier, dir(tf.raw_ops)):
        known = op_def_registry.get(op)
        if known is None:
            continue
        fields = [*known.input_arg, *known.attr]
        if op not in PLACELESS and any(PLACES.search(f.name) for f in fields):
            assert not safety._computes(op), op


def test_what_holds_no_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must hold a graph, got .*No such file"):
        safety.flagged(tmp_path)
    for content in (b"", b"\xff\xff\xff"):
        (tmp_path / "saved_model.pb").write_bytes(content)
        with pytest.raises(ValueError, match="must hold a graph, got none in"):
            safety.flagged(tmp_path)
