"""What the packages use of Keras that is not public, and that they use no more of it.

A failure here means that this version of Keras works otherwise inside: mend the
function in ``keras_resnet/keras_internals.py``.
"""

import ast
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_resnet.keras_internals import forget_sublayer, set_kernel, sublayers

ROOT = Path(__file__).parents[1]
INTERNALS = "keras_resnet/keras_internals.py"


class Holder(keras.layers.Layer):
    """A layer around others, which has no property that lists them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = keras.layers.Dense(2, name="first")
        self.rest = [keras.layers.Dense(3, name="second")]

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return self.rest[0](self.first(x))


def test_sublayers_of_a_layer_and_of_a_model() -> None:
    holder = Holder()
    assert [layer.name for layer in sublayers(holder)] == ["first", "second"], (
        "Keras no longer lists the layers inside a layer in _flatten_layers"
    )
    image = keras.Input((4,))
    model = keras.Model(image, holder(image))
    assert sublayers(model) == model.layers


def test_a_forgotten_sublayer_is_not_listed() -> None:
    holder = Holder()
    forget_sublayer(holder, holder.first)
    holder.first = keras.layers.Dense(2, name="new")
    assert [layer.name for layer in sublayers(holder)] == ["second", "new"], (
        "Keras no longer keeps the layers inside a layer in _layers"
    )


def test_a_replaced_sublayer_is_listed() -> None:
    holder = Holder()
    holder.first = keras.layers.Dense(2, name="new")
    assert [layer.name for layer in sublayers(holder)] == ["first", "second", "new"], (
        "Keras now forgets a replaced layer itself: delete forget_sublayer"
    )


class Fives(keras.layers.Conv2D):
    """A convolution that creates its kernel itself."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        set_kernel(self, self.add_weight(shape=(1, 1, 1, 2), initializer=fives))
        self.built = True


def fives(shape: tuple[int, ...], dtype: str) -> keras.KerasTensor:
    return 5 * keras.ops.ones(shape, dtype)


def test_kernel_of_a_convolution_is_set() -> None:
    conv = Fives(2, 1, use_bias=False)
    outputs = np.asarray(conv(np.ones((1, 3, 3, 1), "float32")))
    assert (outputs == 5).all() and conv.kernel is conv.weights[0], (
        "Keras no longer keeps the kernel of a convolution in _kernel"
    )
    assert keras.layers.Conv2D.kernel.fset is None, (
        "Keras now lets a kernel be set: delete set_kernel"
    )


def private(tree: ast.AST) -> set[str]:
    """Attributes whose names begin with one underscore, and modules under keras.src."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            found |= set() if node.attr.startswith("__") else {node.attr}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} if node.module.startswith("keras.src") else set()
        elif isinstance(node, ast.Import):
            found |= {x.name for x in node.names if x.name.startswith("keras.src")}
    return found


def defined(tree: ast.AST) -> set[str]:
    """Names that a module gives to functions, and to attributes that it sets."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    functions = {x.name for x in ast.walk(tree) if isinstance(x, kinds)}
    return functions | {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }


@pytest.mark.slow
def test_no_other_module_reaches_into_a_library() -> None:
    trees = {
        str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8"))
        for package in ("keras_resnet", "training", "export")
        for path in (ROOT / package).rglob("*.py")
    }
    assert private(trees.pop(INTERNALS)) == {
        "_flatten_layers",
        "_get_variable_index",  # tests/test_optimizers.py
        "_kernel",
        "_layers",
        "keras.src.backend.common",  # tests/test_describe.py
    }
    # These of a named tuple are public; the names only avoid those of its fields.
    ours = {"_fields", "_replace"}.union(*map(defined, trees.values()))
    assert set().union(*map(private, trees.values())) <= ours
