"""Private parts of other libraries: which ones the exports use, and that they exist.

A test that fails here after an update names the module of ``export`` to mend.
"""

import ast
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# module of export -> the private parts that it alone uses
USED: dict[str, dict[str, tuple[str, ...]]] = {
    "export/runtimes/tensorflow_internals.py": {
        "tensorflow.core.protobuf.saved_model_pb2": ("SavedModel",),
        "tensorflow.python.framework.op_def_registry": ("get",),
    },
    "export/formats/tflite_metadata.py": {
        "ai_edge_litert.schema_py_generated": ("BufferT", "MetadataT"),
        "ai_edge_litert.tools.flatbuffer_utils": (
            "read_model_from_bytearray",
            "convert_object_to_bytearray",
        ),
    },
}
PRIVATE = (
    *("tensorflow.python", "tensorflow.core", "tensorflow.lite", "keras.src"),
    *("ai_edge_litert.schema", "ai_edge_litert.tools", "ai_edge_litert._"),
    *("openvino._", "onnxruntime.capi", "onnx.onnx_", "tf2onnx.tf"),
)


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize(
    "file",
    sorted((ROOT / "export").rglob("*.py")),
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_private_parts_are_used_in_one_module(file: Path) -> None:
    allowed = tuple(USED.get(str(file.relative_to(ROOT)), ()))
    private = [name for name in imported(file) if name.startswith(PRIVATE)]
    assert [name for name in private if not name.startswith(allowed or ("-",))] == []


@pytest.mark.parametrize(
    ("user", "module", "name"),
    [
        (user, module, name)
        for user, modules in USED.items()
        for module, names in modules.items()
        for name in names
    ],
)
def test_private_parts_exist(user: str, module: str, name: str) -> None:
    library = module.split(".", maxsplit=1)[0]
    try:
        found = hasattr(import_module(module), name)
    except ImportError:
        found = False
    assert found, f"this version of {library} has no {module}.{name}; mend {user}"


def test_operations_are_known() -> None:
    from export.runtimes.tensorflow_internals import is_operation

    assert is_operation("Relu"), "op_def_registry.get no longer finds operations"
    assert is_operation("XlaLaunch"), "op_def_registry.get omits what raw_ops omits"
    assert not is_operation("__inference_serve_1")
