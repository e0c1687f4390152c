"""Imports point one way: export → training → keras_resnet → Keras."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "keras_resnet"

# Which packages the library may import: so that it also runs on other backends.
ALLOWED = {"keras", "numpy", "keras_resnet", *sys.stdlib_module_names}
EXTRA = {  # file -> package, and whether only inside functions
    ("command.py", "tyro", False),
    ("__main__.py", "tyro", False),
    ("analysis/__main__.py", "tyro", False),
    ("analysis/__main__.py", "tqdm", True),
    ("analysis/__main__.py", "training", False),  # for types only
    ("analysis/__main__.py", "training", True),
    ("analysis/gradients.py", "tensorflow", True),
    ("analysis/lesions.py", "scipy", True),
    ("analysis/paths.py", "tensorflow", True),
    ("analysis/plots.py", "matplotlib", False),
    ("figures/__init__.py", "matplotlib", False),  # for types only
    ("figures/__init__.py", "matplotlib", True),
    ("figures/fonts.py", "matplotlib", False),
    ("figures/fonts.py", "matplotlib", True),
    ("figures/units.py", "matplotlib", False),
    ("figures/walk.py", "matplotlib", False),
    ("figures/walk.py", "matplotlib", True),
    ("layers/grouped_conv.py", "tensorflow", True),
    ("layers/normalization.py", "tensorflow", True),
    ("layers/recomputed.py", "tensorflow", True),
    ("layers/stochastic_depth.py", "tensorflow", True),
    ("network.py", "tensorflow", True),
    ("weights/h5.py", "h5py", True),
}


APART = ("export.load", "export.worker", "export.runtimes")
COMMAND = "keras_resnet.analysis.__main__"


def modules(tree: ast.AST) -> set[str]:
    """The full names of all that a module imports."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imports(tree: ast.AST, inside: bool = False) -> set[tuple[str, bool]]:
    """Top-level packages that a module imports, and whether inside a function."""
    found: set[tuple[str, bool]] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {(alias.name.split(".")[0], inside) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level and node.module, "imports are absolute here"
            found.add((node.module.split(".")[0], inside))
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        found |= imports(node, inside or is_function)
    return found


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_library_imports_keras_and_numpy_only(path: Path) -> None:
    extra = {
        (package, inside)
        for package, inside in imports(parsed(path))
        if package not in ALLOWED
    }
    name = str(path.relative_to(PACKAGE))
    assert {(name, *found) for found in extra} <= EXTRA


def files(room: str) -> list[Path]:
    place = ROOT / room
    found = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    assert found
    return found


@pytest.mark.parametrize("room", ["keras_resnet", "training"])
def test_rooms_import_nothing_back(room: str) -> None:
    for file in files(room):
        found = modules(parsed(file))
        assert not [name for name in found if name.startswith("export.")], file
        assert not [name for name in found if name.startswith(COMMAND)], file


@pytest.mark.parametrize(
    "room", ["export/load.py", "export/worker.py", "export/runtimes"]
)
def test_what_is_copied_elsewhere_knows_nothing_of_the_rest(room: str) -> None:
    for file in files(room):
        for name in modules(parsed(file)):
            if name.split(".")[0] in ("keras_resnet", "training", "export"):
                assert name.startswith(APART), f"{file} imports {name}"


def parsed(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))
