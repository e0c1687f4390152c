"""A SavedModel that would do more than compute is told by its graph."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from backends import NETWORKS, SMALL
from keras.src.applications import convnext, efficientnet_v2, mobilenet_v3
from tensorflow.core.framework.op_def_pb2 import OpList
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.client import pywrap_tf_session

import keras_resnet
from export.runtimes.tensorflow_internals import read_meta_graphs
from export.verification import safety

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
    (meta_graph,) = read_meta_graphs(path)
    bodies = (function.node_def for function in meta_graph.graph_def.library.function)
    used = {node.op for body in bodies for node in body}
    assert {"SaveV2", "RestoreV2", "Relu", "ReadVariableOp"} < used


def change_all(path: Path, edit: Callable[[Any], object]) -> None:
    file = path / "saved_model.pb"
    saved = SavedModel.FromString(file.read_bytes())
    edit(saved.meta_graphs[0])
    file.write_bytes(saved.SerializeToString())


def change(path: Path, edit: Callable[[Any], object]) -> None:
    change_all(path, lambda meta_graph: edit(meta_graph.graph_def))


def test_checkpointing_called_by_the_graph_is_flagged(tmp_path: Path) -> None:
    path = save(tf.nn.relu, tmp_path)

    def call_the_saver(graph: Any) -> None:
        names = [f.signature.name for f in graph.library.function]
        saver = next(name for name in names if "traced_save" in name)
        node = graph.node.add(name="again", op="PartitionedCall")
        node.attr["f"].func.name = saver

    change(path, call_the_saver)
    assert any(line.startswith("SaveV2 in function") for line in safety.flagged(path))


def name_a_file(meta_graph: Any) -> None:
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    fixed = nodes[meta_graph.saver_def.filename_tensor_name.split(":")[0]]
    fixed.op = "Const"
    fixed.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/elsewhere"))


def save_before_serving(meta_graph: Any) -> None:
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    served = meta_graph.signature_def["serving_default"].outputs["y"].name
    saver = meta_graph.saver_def.save_tensor_name.split(":")[0]
    nodes[served.split(":")[0]].input.append(f"^{saver}")


def save_while_restoring(meta_graph: Any) -> None:
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    saver = meta_graph.saver_def.save_tensor_name.split(":")[0]
    nodes[meta_graph.saver_def.restore_op_name].input.append(f"^{saver}")


def save_as_an_answer(meta_graph: Any) -> None:
    outputs = meta_graph.signature_def["serving_default"].outputs
    outputs["y"].name = meta_graph.saver_def.save_tensor_name


def save_as_a_sparse_answer(meta_graph: Any) -> None:
    outputs = meta_graph.signature_def["serving_default"].outputs
    name = meta_graph.saver_def.save_tensor_name
    part = outputs["y"].composite_tensor.components.add()
    part.coo_sparse.indices_tensor_name = name


def save_at_the_start(meta_graph: Any) -> None:
    saver = meta_graph.saver_def.save_tensor_name.split(":")[0]
    meta_graph.collection_def["saved_model_main_op"].node_list.value[:] = [saver]


@pytest.mark.parametrize(
    "edit",
    [
        name_a_file,
        save_before_serving,
        save_while_restoring,
        save_as_an_answer,
        save_as_a_sparse_answer,
        save_at_the_start,
    ],
)
def test_a_saver_that_others_run_is_flagged(
    edit: Callable[[Any], None], tmp_path: Path
) -> None:
    path = save(tf.nn.relu, tmp_path)
    change_all(path, edit)
    found = [line.split(" in function ")[0] for line in safety.flagged(path)]
    assert found == ["MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"]


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


def registered() -> dict[str, Any]:
    """Every operation of this TensorFlow, with its definition."""
    buffer = pywrap_tf_session.TF_GetAllOpList()
    listed = OpList.FromString(pywrap_tf_session.TF_GetBuffer(buffer))
    return {op.name: op for op in listed.op}


# Words in the names of operations that do more than compute, or wait, whether or not
# TensorFlow marks them as stateful.
EFFECTS_BY_NAME = re.compile(
    "Abort|Barrier|^Batch(Function)?$|Call$|Checkpoint|Collective|Copy(Host)?$|DTensor|"
    "Dataset|Debug|Deadline|Dump|Event|Feed|File|Host|Iterator|Mlir|Mutex|Nccl|Print|"
    "PyFunc|Queue|Reader|Recv|Restore|Rpc|Save|Send|Session|Sleep|Stage$|Summary|TPU|"
    "Timestamp|Tpu|Write(File|Raw|.*Summary)|Xla|ImmutableConst|MapDefun"
)
PLACES = re.compile("file|_urls|address|memory_region|descriptor_source|debug_ops")
CALLS = {"PartitionedCall", "StatefulPartitionedCall"}  # of the graph's own functions
# Stateful for TensorFlow, but only within the graph.
STATEFUL = set(safety.COMPUTING["state of the graph"].split()) | {
    *("Assert", "Case", "Empty", "If", "StatefulPartitionedCall", "While"),
    *(op for op in safety.ALLOWED if op.startswith("TensorArray")),
}


def test_allowed_operations_exist_and_do_nothing_else() -> None:
    known = registered()
    assert known.keys() >= safety.ALLOWED
    listed = " ".join(safety.COMPUTING.values()).split()
    assert len(listed) == len(set(listed))
    for op in safety.ALLOWED:
        fields = [*known[op].input_arg, *known[op].attr]
        assert not any(PLACES.search(field.name) for field in fields), op
        assert op in CALLS or not EFFECTS_BY_NAME.search(op), op
        assert op in STATEFUL or not known[op].is_stateful, op


def test_all_other_registered_operations_are_flagged(tmp_path: Path) -> None:
    path = save(tf.nn.relu, tmp_path)
    others = registered().keys() - safety.ALLOWED
    assert {
        "Abort",
        "QueueDequeue",
        "ReadFile",
        "SleepOp",
        "MlirPassthroughOp",
    } < others

    def use_all(graph: Any) -> None:
        for number, op in enumerate(sorted(others)):
            graph.node.add(name=f"other{number}", op=op)

    change(path, use_all)
    assert safety.flagged(path) == sorted(f"{op} in the graph" for op in others)


def test_a_function_does_not_hide_an_operation_of_its_name(tmp_path: Path) -> None:
    path = save(tf.nn.relu, tmp_path)

    def shadow(graph: Any) -> None:
        graph.library.function.add().signature.name = "Abort"
        graph.node.add(name="end", op="Abort")

    change(path, shadow)
    assert safety.flagged(path) == ["Abort in the graph"]


def blocks(x: Any, kernel: int, activation: Any, ratio: float) -> Any:
    """Two of MobileNetV3Small's blocks, which have all operations of the others."""
    block = mobilenet_v3._inverted_res_block
    x = block(x, 1, 8, 3, 2, ratio, mobilenet_v3.relu, 0)
    return block(x, 4, 8, kernel, 1, ratio, activation, 1)


# Each has operations that none of the others and of our networks has, as the networks
# of full depth do.
NEW: dict[str, Any] = {"weights": None, "classes": 3}
PEERS: dict[str, Callable[[], Any]] = {
    "ConvNeXt": lambda: convnext.ConvNeXt((1, 1, 1, 1), (8, 8, 8, 8), **NEW),
    "EfficientNetV2": lambda: efficientnet_v2.EfficientNetV2(
        0.25, 0.1, 224, name="efficientnetv2-b0", **NEW
    ),
    "MobileNetV3": lambda: mobilenet_v3.MobileNetV3(
        blocks, 8, model_type="small", **NEW
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NETWORKS, *PEERS])
def test_what_keras_exports_is_not_flagged(name: str, tmp_path: Path) -> None:
    if name in NETWORKS:
        model = keras_resnet.create_model(name, **{**SMALL, **NETWORKS[name]})
    else:
        model = PEERS[name]()
    model.export(str(tmp_path), verbose=False)
    assert safety.flagged(tmp_path) == []


def test_what_holds_no_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must hold a graph, got .*No such file"):
        safety.flagged(tmp_path)
    for content in (b"", b"\xff\xff\xff"):
        (tmp_path / "saved_model.pb").write_bytes(content)
        with pytest.raises(ValueError, match="must hold a graph, got no graph in"):
            safety.flagged(tmp_path)
