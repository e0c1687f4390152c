"""What a SavedModel would do beside computing, read from its graph without loading it.

A SavedModel is a program: whoever loads or calls it runs what is in it. This module
knows nothing of the rest of this project.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# State of the graph's own: variables, tables, control flow.
OWN_STATE = {
    *("VarHandleOp", "ReadVariableOp", "AssignVariableOp", "VarIsInitializedOp"),
    *("DisableCopyOnRead", "DestroyResourceOp", "VariableShape", "ResourceGather"),
    *("HashTableV2", "LookupTableFindV2", "LookupTableSizeV2", "InitializeTableV2"),
    *("LookupTableImportV2", "LookupTableExportV2", "AnonymousHashTable"),
    *("StatefulPartitionedCall", "If", "While", "Case", "Assert", "Empty"),
    *("TensorArrayV3", "TensorArrayReadV3", "TensorArrayWriteV3", "TensorArraySizeV3"),
    *("TensorArrayGatherV3", "TensorArrayScatterV3", "TensorArrayCloseV3"),
}
# TensorFlow marks as stateful what has effects, but not what only reads; these read
# files, or files of any address, or call Python.
READS = re.compile(
    "File|Reader|Dataset|Debug|PyFunc|^CopyHost$|^Copy$|^ImmutableConst$|^Skipgram$"
    "|^DecodeProto|^EncodeProto|^GenerateVocabRemapping$|^RemoteFusedGraphExecute$"
)
# What TensorFlow writes into every SavedModel to save its variables and, which loading
# runs, to restore them.
SAVING = frozenset({"ShardedFilename", "SaveV2", "MergeV2Checkpoints"})
RESTORING = frozenset({"RestoreV2"})
# Other names under which TensorFlow looks for a graph, this one before saved_model.pb.
OTHER_GRAPHS = ("saved_model.cpb", "saved_model.pbtxt")


def flagged(path: Path) -> list[str]:
    """Lists a SavedModel's operations that may do more than compute.

    These are operations that touch files, the network, the console or devices, call
    Python, draw random numbers, or are unknown to this TensorFlow. The function that
    the loader itself saves variables by may write checkpoints, and the one that it
    restores them by may read some.

    Args:
        path: A version folder.

    Returns:
        Lines like ``"WriteFile in function f"``, sorted; empty for a graph that only
        computes.

    Raises:
        ValueError: There is no graph at ``path``, or it cannot be read, or there is a
            second one.
    """
    return sorted(
        f"{op} in {'the graph' if not function else f'function {function}'}"
        for meta_graph in _graphs(path)
        for op, function in set(_suspects(meta_graph))
    )


def op_types(path: Path) -> set[str]:
    """Returns the types of all operations of a SavedModel.

    Raises:
        ValueError: There is no graph at ``path``, or it cannot be read.
    """
    return {
        node.op
        for meta_graph in _graphs(path)
        for _, nodes in _functions(meta_graph.graph_def)
        for node in nodes
    }


def _graphs(path: Path) -> list[Any]:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = path / "saved_model.pb"
    for name in OTHER_GRAPHS:
        if (path / name).exists():
            raise ValueError(f"SavedModel must hold one graph, got {path / name} too")
    try:
        graphs = list(SavedModel.FromString(file.read_bytes()).meta_graphs)
    except OSError as error:
        raise ValueError(f"SavedModel must hold a graph, got {error}") from None
    except DecodeError:
        graphs = []
    if not graphs:
        raise ValueError(f"SavedModel must hold a graph, got none in {file}")
    return graphs


def _functions(graph: Any) -> Iterator[tuple[str, Iterable[Any]]]:
    """The graph's nodes, under the name ``""``, and each function's."""
    yield "", graph.node
    for function in graph.library.function:
        yield function.signature.name, function.node_def


def _suspects(meta_graph: Any) -> Iterator[tuple[str, str]]:
    graph = meta_graph.graph_def
    own = {function.signature.name for function in graph.library.function}
    exempt = _checkpointing(meta_graph)
    for name, nodes in _functions(graph):
        for node in nodes:
            allowed = node.op in own or node.op in exempt.get(name, ())
            if not allowed and not _computes(node.op):
                yield node.op, name


def _computes(op: str) -> bool:
    # TensorFlow has no public way to ask what it knows about an operation.
    from tensorflow.python.framework import op_def_registry

    known = op_def_registry.get(op)
    if known is None or op.startswith("_"):
        return False
    return op in OWN_STATE or not (known.is_stateful or READS.search(op))


def _checkpointing(meta_graph: Any) -> dict[str, frozenset[str]]:
    """What functions may do with checkpoints that the saver calls, and nothing else."""
    saver = meta_graph.saver_def
    saving = saver.save_tensor_name.split(":")[0]
    roles = {saving: SAVING, saver.restore_op_name: RESTORING}
    allowed: dict[str, frozenset[str]] = {}
    for function, nodes in _functions(meta_graph.graph_def):
        for node in nodes:
            role = frozenset() if function else roles.get(node.name, frozenset())
            for called in _called(node):
                allowed[called] = allowed.get(called, role) & role
    exposed = set(meta_graph.object_graph_def.concrete_functions)
    return {name: ops for name, ops in allowed.items() if name not in exposed}


def _called(node: Any) -> Iterator[str]:
    yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)
