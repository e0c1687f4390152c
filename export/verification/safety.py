"""Lists unsafe operations in the graph of a SavedModel without loading it.

A SavedModel is a program: loading or calling it runs what it contains.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from export.runtimes.tensorflow_internals import is_operation, read_meta_graphs

# Allow-list of operations that only compute. Operations that TensorFlow does not mark
# as stateful may still end the process (Abort), wait forever (QueueDequeue), read files
# (ReadFile) or compile code (MlirPassthroughOp), and each release of TensorFlow adds
# new ones. Add an operation here only after reviewing it.
COMPUTING = {
    "constants and control flow": """
        Assert Case Const ControlTrigger Enter Exit Identity IdentityN If LoopCond Merge
        NextIteration NoOp PartitionedCall Placeholder PlaceholderV2
        PlaceholderWithDefault PreventGradient Snapshot StatefulPartitionedCall
        StatelessCase StatelessIf StatelessWhile StopGradient Switch While""",
    "state of the graph": """
        AnonymousHashTable AssignVariableOp DestroyResourceOp DisableCopyOnRead
        HashTableV2 InitializeTableV2 LookupTableExportV2 LookupTableFindV2
        LookupTableImportV2 LookupTableSizeV2 ReadVariableOp ResourceGather VarHandleOp
        VarIsInitializedOp VariableShape""",
    "lists of tensors": """
        EmptyTensorList TensorArrayCloseV3 TensorArrayGatherV3 TensorArrayReadV3
        TensorArrayScatterV3 TensorArraySizeV3 TensorArrayV3 TensorArrayWriteV3
        TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather
        TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack
        TensorListReserve TensorListResize TensorListScatterV2 TensorListSetItem
        TensorListSplit TensorListStack""",
    "elementwise operations": """
        Abs Acos Acosh Add AddN AddV2 Angle ApproximateEqual Asin Asinh Atan Atan2 Atanh
        Bitcast BitwiseAnd BitwiseOr BitwiseXor Cast Ceil ClipByValue Complex ComplexAbs
        Conj Cos Cosh Digamma Div DivNoNan Elu Equal Erf Erfc Erfinv Exp Expm1 Floor
        FloorDiv FloorMod Greater GreaterEqual Imag Inv Invert IsFinite IsInf IsNan
        LeakyRelu LeftShift Less LessEqual Lgamma Log Log1p LogicalAnd LogicalNot
        LogicalOr Maximum Minimum Mod Mul MulNoNan Ndtri Neg NextAfter NotEqual Pow Real
        RealDiv Reciprocal Relu Relu6 RightShift Rint Round Rsqrt Select SelectV2 Selu
        Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Square SquaredDifference Sub Tan
        Tanh TruncateDiv TruncateMod Xdivy Xlog1py Xlogy""",
    "reductions and matrix products": """
        All Any ArgMax ArgMin BatchMatMul BatchMatMulV2 BatchMatMulV3 Bincount Cross
        Cumprod Cumsum CumulativeLogsumexp DenseBincount Einsum EuclideanNorm InTopKV2
        L2Loss LogSoftmax MatMul Max Mean Min Prod SegmentMax SegmentMean SegmentMin
        SegmentProd SegmentSum Softmax Sum TopK TopKV2 UnsortedSegmentMax
        UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum""",
    "shapes and indices": """
        BroadcastArgs BroadcastTo Concat ConcatOffset ConcatV2 ConjugateTranspose Diag
        DiagPart DynamicPartition DynamicStitch Empty EnsureShape ExpandDims Fill Gather
        GatherNd GatherV2 InvertPermutation LinSpace ListDiff LowerBound MatrixBandPart
        MatrixDiagPartV3 MatrixDiagV3 MatrixSetDiagV3 MirrorPad OneHot OnesLike Pack Pad
        PadV2 Range Rank Reshape Reverse ReverseSequence ReverseV2 Roll ScatterNd Shape
        ShapeN Size Slice Split SplitV Squeeze StridedSlice TensorScatterAdd
        TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate
        TensorStridedSliceUpdate Tile Transpose Unique UniqueV2 UniqueWithCounts
        UniqueWithCountsV2 Unpack UnravelIndex UpperBound Where ZerosLike""",
    "layers": """
        AvgPool AvgPool3D BatchNormWithGlobalNormalization BatchToSpace BatchToSpaceND
        BiasAdd BiasAddV1 Conv Conv2D Conv2DBackpropInput Conv2DBackpropInputV2 Conv3D
        Conv3DBackpropInputV2 DataFormatDimMap DataFormatVecPermute DepthToSpace
        DepthwiseConv2dNative Dequantize Dilation2D FakeQuantWithMinMaxArgs
        FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel FusedBatchNorm
        FusedBatchNormV2 FusedBatchNormV3 LRN MaxPool MaxPool3D MaxPoolV2
        MaxPoolWithArgmax QuantizeAndDequantizeV2 QuantizeAndDequantizeV3
        QuantizeAndDequantizeV4 QuantizeV2 SpaceToBatch SpaceToBatchND SpaceToDepth""",
    "images": """
        AdjustContrastv2 AdjustHue AdjustSaturation CombinedNonMaxSuppression
        CropAndResize DecodeAndCropJpeg DecodeBmp DecodeGif DecodeImage DecodeJpeg
        DecodePng DecodeWebP EncodeJpeg EncodePng ExtractImagePatches ExtractJpegShape
        HSVToRGB ImageProjectiveTransformV2 ImageProjectiveTransformV3
        NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 RGBToHSV ResizeArea
        ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate""",
    "texts": """
        AsString DecodeBase64 DecodeRaw EncodeBase64 ReduceJoin RegexFullMatch
        RegexReplace StaticRegexFullMatch StaticRegexReplace StringJoin StringLength
        StringLower StringSplitV2 StringStrip StringToHashBucketFast StringToNumber
        StringUpper Substr""",
    "random numbers from a given seed": """
        RandomIndexShuffle StatelessMultinomial StatelessRandomGetKeyCounter
        StatelessRandomNormal StatelessRandomNormalV2 StatelessRandomUniform
        StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2
        StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2
        StatelessShuffle StatelessTruncatedNormal StatelessTruncatedNormalV2""",
}
ALLOWED = frozenset(" ".join(COMPUTING.values()).split())
# Operations in every SavedModel that save its variables and, on loading, restore them.
SAVING = frozenset({"ShardedFilename", "SaveV2", "MergeV2Checkpoints"})
RESTORING = frozenset({"RestoreV2"})
# TensorFlow also looks for graphs by these names, the first before saved_model.pb.
OTHER_GRAPHS = ("saved_model.cpb", "saved_model.pbtxt")


def flagged(path: Path) -> list[str]:
    """Returns the operations of a SavedModel that may do more than compute.

    These are all that are not in ``COMPUTING``, including those that access files,
    network connections, the console or devices, call Python, end the process, wait, or
    draw random numbers without a seed. The function by which the loader saves variables
    may write checkpoints, and the one by which it restores them may read some.

    Args:
        path: A version folder.

    Returns:
        Lines like ``"WriteFile in function f"``, sorted; empty for a graph that only
        computes.

    Raises:
        ValueError: The graph at ``path`` is missing or unreadable, or there is a second
            one.
    """
    return sorted(
        f"{op} in {'the graph' if not function else f'function {function}'}"
        for meta_graph in _graphs(path)
        for op, function in set(_suspects(meta_graph))
    )


def _graphs(path: Path) -> list[Any]:
    for name in OTHER_GRAPHS:
        if (path / name).exists():
            raise ValueError(f"SavedModel must hold one graph, got {path / name} too")
    try:
        return read_meta_graphs(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"SavedModel must hold a graph, got {error}") from None


def _functions(graph: Any) -> Iterator[tuple[str, Iterable[Any]]]:
    """Yields the nodes of the graph, named ``""``, and of each function."""
    yield "", graph.node
    for function in graph.library.function:
        yield function.signature.name, function.node_def


def _suspects(meta_graph: Any) -> Iterator[tuple[str, str]]:
    graph = meta_graph.graph_def
    # A name of both a function and an operation is judged as the operation.
    names = (function.signature.name for function in graph.library.function)
    defined = {name for name in names if not is_operation(name)}
    exempt = _checkpointing(meta_graph)
    for name, nodes in _functions(graph):
        allowed = ALLOWED | defined | exempt.get(name, frozenset())
        for node in nodes:
            if node.op not in allowed:
                yield node.op, name


def _checkpointing(meta_graph: Any) -> dict[str, frozenset[str]]:
    """Returns the extra operations allowed in functions that only the saver calls.

    None are if anything but the loader can run the saver or name its file.
    """
    saver = meta_graph.saver_def
    roles = {_node(saver.save_tensor_name): SAVING, saver.restore_op_name: RESTORING}
    ops = {node.name: node.op for node in meta_graph.graph_def.node}
    fed = ops.get(_node(saver.filename_tensor_name)) == "Placeholder"
    if not fed or not roles.keys().isdisjoint(map(_node, _used(meta_graph))):
        roles = {}
    allowed: dict[str, frozenset[str]] = {}
    for function, nodes in _functions(meta_graph.graph_def):
        for node in nodes:
            role = frozenset() if function else roles.get(node.name, frozenset())
            for called in _called(node):
                allowed[called] = allowed.get(called, role) & role
    exposed = set(meta_graph.object_graph_def.concrete_functions)
    return {name: ops for name, ops in allowed.items() if name not in exposed}


def _used(meta_graph: Any) -> Iterator[str]:
    """Yields the names in nodes, signatures and collections (the init operations)."""
    for node in meta_graph.graph_def.node:
        yield from node.input
    for signature in meta_graph.signature_def.values():
        for info in (*signature.inputs.values(), *signature.outputs.values()):
            yield from _tensors(info)
    for collection in meta_graph.collection_def.values():
        yield from collection.node_list.value


def _tensors(info: Any) -> Iterator[str]:
    sparse = info.coo_sparse
    yield from (info.name, sparse.values_tensor_name, sparse.indices_tensor_name)
    yield sparse.dense_shape_tensor_name
    for part in info.composite_tensor.components:
        yield from _tensors(part)


def _node(name: str) -> str:
    """The node that a tensor (``a:0``) or a control input (``^a``) names."""
    return name.removeprefix("^").split(":")[0]


def _called(node: Any) -> Iterator[str]:
    yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)
