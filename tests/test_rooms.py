"""Imports point down: export → training → keras_resnet → Keras, and so within each.

A room is a folder, or a file directly in a package. Imports inside functions count.
"""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "keras_resnet"
PACKAGES = ("export", "training", "keras_resnet")  # each imports those after it only

# The rooms of a package, the highest first; those in a row know nothing of each other.
LAYERS = (
    ("sweep", "report"),
    ("fit", "evaluate", "analyse", "sweeps"),
    ("reports",),
    ("experiment",),
    ("engine",),
    ("evaluation",),
    ("distributed", "optimisation"),
    ("runs",),
    ("recipes",),
    ("data",),
    ("storage",),
)

EXPORT_LAYERS = (
    ("saved_model", "tflite", "onnx", "verify", "predict", "benchmark"),
    ("formats", "prediction", "benchmarking"),
    ("graph", "verification"),
    ("metadata", "worker"),
    ("load",),
    ("runtimes",),
)

# Which packages the library may import: so that it also runs on other backends.
ALLOWED = {"keras", "numpy", "keras_resnet", *sys.stdlib_module_names}
EXTRA = {  # file -> package, and whether only inside functions
    ("command.py", "tyro", False),
    ("__main__.py", "tyro", False),
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
    ("layers/pointwise.py", "tensorflow", True),
    ("layers/recomputed.py", "tensorflow", True),
    ("layers/stochastic_depth.py", "tensorflow", True),
    ("network.py", "tensorflow", True),
    ("weights/h5.py", "h5py", True),
}

APART = ("export.load", "export.worker", "export.runtimes")

Modules = dict[str, ast.AST]  # a module's full name -> its code


def files() -> dict[str, Path]:
    """Every module's full name and its file."""
    found = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = file
    return found


@pytest.fixture(scope="module")
def known() -> Modules:
    return {name: ast.parse(file.read_text("utf-8")) for name, file in files().items()}


def imported(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """The full names of all that a module imports, with the lines of the statements."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level and node.module, "imports are absolute here"
            for alias in node.names:
                yield (*node.module.split("."), alias.name)


def arrows(known: Modules, folder: tuple[str, ...]) -> dict[str, set[str]]:
    """Which rooms of a folder import which others of it."""
    depth = len(folder)
    names = {tuple(name.split(".")) for name in known}
    rooms = {name[depth] for name in names if name[:depth] == folder and name[depth:]}
    found: dict[str, set[str]] = {room: set() for room in rooms}
    for name, tree in known.items():
        here = tuple(name.split("."))
        if here[:depth] != folder or not here[depth:]:
            continue
        for there in imported(tree):
            if there[:depth] == folder and there[depth:] and there[depth] in rooms:
                found[here[depth]].add(there[depth])
    return {room: others - {room} for room, others in found.items()}


def upward(
    found: dict[str, set[str]], layers: tuple[tuple[str, ...], ...]
) -> list[tuple[str, str]]:
    """The arrows that do not point to a lower layer."""
    level = {room: number for number, row in enumerate(layers) for room in row}
    assert found.keys() == level.keys()
    return [
        (room, other)
        for room, others in found.items()
        for other in others
        if level[other] <= level[room]
    ]


FOLDERS = sorted({tuple(name.split("."))[:-1] for name in files()})


@pytest.mark.parametrize("folder", FOLDERS, ids=".".join)
def test_rooms_of_a_folder_import_no_circle(
    folder: tuple[str, ...], known: Modules
) -> None:
    TopologicalSorter(arrows(known, folder)).prepare()


@pytest.mark.parametrize(
    ("package", "layers"), [("training", LAYERS), ("export", EXPORT_LAYERS)]
)
def test_rooms_of_a_package_import_lower_ones_only(
    package: str, layers: tuple[tuple[str, ...], ...], known: Modules
) -> None:
    assert upward(arrows(known, (package,)), layers) == []


def test_packages_import_lower_ones_only(known: Modules) -> None:
    layers = tuple((package,) for package in PACKAGES)
    assert upward(arrows(known, ()), layers) == []


def test_an_arrow_upwards_inside_a_function_is_found(known: Modules) -> None:
    other = ast.parse("def f():\n    from training.fit import main\n")
    changed = known | {"training.data.pipeline": other}
    found = arrows(changed, ("training",))
    assert ("data", "fit") in upward(found, LAYERS)
    with pytest.raises(CycleError):
        TopologicalSorter(found).prepare()


@pytest.mark.parametrize(("package", "most"), [("training", 8), ("export", 10)])
def test_few_files_stand_at_the_top_of_a_package(package: str, most: int) -> None:
    assert len(list((ROOT / package).glob("*.py"))) <= most


def imports(tree: ast.AST, inside: bool = False) -> set[tuple[str, bool]]:
    """Top-level packages that a module imports, and whether inside a function."""
    found: set[tuple[str, bool]] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {(alias.name.split(".")[0], inside) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add((node.module.split(".")[0], inside))
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        found |= imports(node, inside or is_function)
    return found


@pytest.mark.parametrize(
    "path", sorted(LIBRARY.rglob("*.py")), ids=lambda p: str(p.relative_to(LIBRARY))
)
def test_library_imports_keras_and_numpy_only(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    extra = {
        (package, inside) for package, inside in imports(tree) if package not in ALLOWED
    }
    name = str(path.relative_to(LIBRARY))
    assert {(name, *found) for found in extra} <= EXTRA


@pytest.mark.parametrize("room", ["export.load", "export.worker", "export.runtimes"])
def test_what_is_copied_elsewhere_knows_nothing_of_the_rest(
    room: str, known: Modules
) -> None:
    copied = {n: tree for n, tree in known.items() if f"{n}.".startswith(f"{room}.")}
    assert copied
    for file, tree in copied.items():
        for name in map(".".join, imported(tree)):
            if name.split(".")[0] in PACKAGES:
                assert name.startswith(APART), f"{file} imports {name}"
