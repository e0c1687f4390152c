"""The catalogue, the builder's errors, saving, and what may import what."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import (
    MODELS,
    UsageError,
    count_macs,
    create_model,
    list_models,
    load_model,
)
from keras_resnet.catalogue import find_spec

TINY: dict[str, Any] = {"depths": (1, 1), "input_shape": (8, 8, 3)}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("resnet18", ["resnet18"]),
        ("resnet??", ["resnet18", "resnet34", "resnet50"]),
        ("*_v1_5", ["resnet101_v1_5", "resnet152_v1_5", "resnet50_v1_5"]),
        ("resnet[24]?_cifar", ["resnet20_cifar", "resnet44_cifar"]),
        ("RESNET18", []),
        ("18", []),
        ("", []),
    ],
)
def test_list_models(pattern: str, names: list[str]) -> None:
    assert list_models(pattern) == names


def test_list_models_shows_all() -> None:
    assert list_models() == list_models("*") == sorted(MODELS)


def test_overrides_are_fields_of_the_spec() -> None:
    spec = find_spec("resnet50", shortcut="C", depths=[1, 2])
    assert (spec.shortcut, spec.depths, spec.unit) == ("C", (1, 2), "bottleneck")
    assert MODELS["resnet50"].depths == (3, 4, 6, 3)  # the table's row is as before
    nested = find_spec("lenet5", connections=[[0, 1], [2, 3]])
    assert nested == find_spec("lenet5", connections=((0, 1), (2, 3)))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "resnet51",
            {},
            r"unknown model 'resnet51'; did you mean 'resnet50' .*list_models\(\)",
        ),
        ("inception", {}, r"unknown model 'inception'; .*list_models\(\) shows all$"),
        ("", {}, r"unknown model ''; keras_resnet\.list_models\(\) shows all$"),
        (
            "resnet18",
            {"shortcuts": "C"},
            "resnet18 has no field 'shortcuts'; did you mean 'shortcut'\\? its fields "
            "are depths, unit, width, stem, stem_width, order, shortcut, skip, "
            "stride_at, halve_in, survival, drop_mode$",
        ),
        ("resnet18", {"dropout": 1}, "no field 'dropout'; .*its fields are depths"),
        (
            "resnet18",
            {"shortcut": "D"},
            "shortcut must be one of A, A_pooled, B, C, none, got 'D'",
        ),
        ("resnet18", {"order": "v2"}, "order must be one of original, .* got 'v2'"),
        ("resnet18", {"width": 0}, "width must be at least 1, got 0"),
        ("resnet18", {"depths": ()}, "depths must be one positive unit count"),
        ("resnet18", {"width": 1.5}, "width of resnet18 must be of type int, got 1.5"),
        ("resnet18", {"width": True}, "must be of type int, got True"),
        ("resnet18", {"width": "8"}, "must be of type int, got '8'"),
        ("resnet18", {"depths": {1, 2}}, "must be of type tuple, got {1, 2}"),
        ("resnet18", {"depths": None}, "must be of type tuple, got None"),
        (
            "highway20_cifar",
            {"gate_bias": float("nan")},
            "gate_bias of highway20_cifar must be finite, got nan",
        ),
        ("resnet18", {"depths": 3}, "depths of resnet18 must be of type tuple, got 3"),
        ("resnet18", {"shortcut": 1}, "must be of type str, got 1"),
        (
            "resnet18",
            {"classes": -1},
            "classes must be an integer of at least 0, got -1",
        ),
        (
            "resnet18",
            {"input_shape": (31, 64, 3)},
            r"input of resnet18 must be at least 32×32 pixels, got 31×64; choose",
        ),
        ("resnet18", {"input_shape": (None, 8, 3)}, "at least 32×32 .*got None×8"),
        ("resnet20_cifar", {"input_shape": (3, 3, 3)}, "at least 4×4 .*got 3×3"),
        ("resnet18", {"input_shape": (32, 32)}, r"must be \(height, .*got \(32, 32\)"),
        ("resnet18", {"input_shape": (32, 32, 0)}, "positive integers"),
        ("resnet18", {"input_shape": (32, 32, None)}, "positive integers"),
        ("resnet18", {"input_shape": ("a", 32, 3)}, "positive integers"),
        ("resnet18", {"input_shape": (32.5, 32, 3)}, "positive integers"),
        ("resnet18", {"input_shape": ()}, "positive integers"),
        ("resnet18", {"classes": True}, "an integer of at least 0, got True"),
        ("resnet18", {"depths": (1.5, 1)}, "positive unit count per stage"),
        ("resnet18", {"depths": ("a",)}, "positive unit count per stage"),
        (
            "resnet20_cifar",
            {"width": 8},
            "shortcut 'A' can only add channels, got 16 → 8 in stage1_block1",
        ),
    ],
)
def test_mistake_is_told(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        create_model(name, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        pytest.param("resnet18", 32, marks=pytest.mark.slow),
        pytest.param("resnet50_v2", 32, marks=pytest.mark.slow),
        ("resnet20_cifar", 4),
    ],
)
def test_smallest_input_works(name: str, side: int) -> None:
    depths = (1,) * len(MODELS[name].depths)
    model = create_model(name, input_shape=(side, side, 3), depths=depths, classes=2)
    last = [x for x in model.layers if x.name.endswith("_add")][-1]
    assert last.output.shape[1:3] == (1, 1)
    assert model(np.ones((1, side, side, 3))).shape == (1, 2)


@pytest.mark.parametrize("options", [{}, {"shortcut": "A", "width": 8}], ids=str)
def test_dtype_policy_is_as_before(options: dict[str, Any]) -> None:
    before = keras.config.dtype_policy()
    if options:  # fails in the middle of building
        with pytest.raises(UsageError, match="can only add channels"):
            create_model("resnet20_cifar", dtype="mixed_bfloat16", **TINY, **options)
    else:
        model = create_model("resnet20_cifar", dtype="mixed_bfloat16", **TINY)
        assert model.get_layer("stem_conv").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy() is before


def test_dtype_policy_defaults_to_the_global_one() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = create_model("resnet20_cifar", **TINY)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("stem_conv").compute_dtype == "float16"


def test_model_has_its_name() -> None:
    model = create_model("resnet20_cifar", **TINY)
    assert (model.name, model.layers[0].name) == ("resnet20_cifar", "image")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet20_cifar", TINY),
        ("resnet20_cifar", {**TINY, "classes": 0, "input_shape": (None, None, 1)}),
        ("resnet18", {"depths": (1, 1), "input_shape": (16, 16, 3)}),
        (
            "resnet50_v2",
            {"depths": (1, 1), "width": 8, "input_shape": (16, 16, 3), "classes": 5},
        ),
    ],
    ids=["cifar", "open_features", "imagenet", "v2"],
)
def test_saved_and_loaded_is_the_same_network(
    name: str,
    options: dict[str, Any],
    dtype: str,
    tmp_path: Path,
    enliven: Callable[[keras.Model], keras.Model],
) -> None:
    model = enliven(create_model(name, dtype=dtype, **options))
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    channels = model.input_shape[-1]
    x = np.random.default_rng(0).normal(size=(2, 16, 16, channels)).astype("float32")
    x = x[:, : model.input_shape[1], : model.input_shape[2]]
    logits = model(x, training=False)
    np.testing.assert_array_equal(loaded(x, training=False), logits)
    assert np.ptp(np.asarray(logits, "float32"), axis=0).any()  # it is alive
    assert [type(x) for x in loaded.layers] == [type(x) for x in model.layers]
    assert [x.name for x in loaded.layers] == [x.name for x in model.layers]
    assert loaded.get_layer("stem_conv").compute_dtype == dtype.removeprefix("mixed_")


def test_loaded_model_has_no_optimizer(tmp_path: Path) -> None:
    model = create_model("resnet20_cifar", **TINY)
    model.compile("sgd", "mse")
    model.save(tmp_path / "model.keras")
    assert not load_model(str(tmp_path / "model.keras")).compiled


@pytest.mark.parametrize("name", ["nowhere.keras", "."])
def test_load_model_needs_a_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="model file must exist, got"):
        load_model(tmp_path / name)


def test_import_starts_no_backend() -> None:
    code = (
        "import sys, keras_resnet; dir(keras_resnet);"
        "print({'keras', 'tensorflow', 'numpy', 'tyro'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_public_names_resolve() -> None:
    for name in keras_resnet.__all__:
        assert getattr(keras_resnet, name) is not None
        assert name in dir(keras_resnet)
    with pytest.raises(AttributeError, match="has no attribute 'resnet51'"):
        _ = keras_resnet.resnet51


def test_load_model_refuses_what_is_no_keras_file(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(b"junk")
    with pytest.raises(UsageError, match="must be a complete"):
        load_model(path)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_network_entirely_in_half_precision(dtype: str) -> None:
    model = create_model("resnet20_cifar", depths=(1, 1, 1), dtype=dtype)
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    assert np.isfinite(model(x, training=True)).all()


def test_the_input_is_float32_whatever_floatx_is() -> None:
    keras.config.set_floatx("float16")
    try:
        model = create_model("lenet5", dtype="float32")
    finally:
        keras.config.set_floatx("float32")
    assert model.input.dtype == "float32"


def test_numpy_numbers_are_numbers() -> None:
    model = create_model(
        "resnet20_cifar",
        input_shape=np.array([16, 24, 3]),
        classes=np.int64(5),
        depths=np.array([1, 1, 1]),
        survival=np.float32(0.5),
    )
    assert (model.input_shape, model.output_shape) == ((None, 16, 24, 3), (None, 5))
    spec: Any = find_spec("resnet20_cifar", depths=(np.int8(1),))
    assert [type(depth) for depth in spec.depths] == [int]
    with pytest.raises(UsageError, match="classes must be an integer"):
        create_model("resnet20_cifar", classes=np.True_)


def test_layers_within_layers_are_reachable() -> None:
    options = {"depths": (1, 1), "classes": 5}
    model = create_model("resnet20_cifar", survival=0.5, **options)
    nested = model.get_layer("stage1_block1_add")
    norm = model.get_layer("stage1_block1_norm1")
    assert norm in nested.layers
    clone = keras.models.clone_model(model, keras.Input((20, 28, 3)))
    clone.set_weights(model.get_weights())
    built = create_model(
        "resnet20_cifar", survival=0.5, input_shape=(20, 28, 3), **options
    )
    built.set_weights(model.get_weights())
    assert count_macs(clone) == count_macs(built) > 0
    x = np.random.default_rng(0).normal(size=(2, 20, 28, 3)).astype("float32")
    assert np.array_equal(clone(x), built(x))


IMPORTS = (
    "import keras, keras_resnet",
    "import keras_resnet, keras",
    "import keras_resnet.layers, keras",
    "import keras_resnet, tensorflow as tf; keras = tf.keras",
)
IN_EACH_ORDER = """
import os, sys
import tensorflow  # which Keras imports anyway, and takes the longest
for imports in sys.argv[2:]:
    if not (child := os.fork()):
        exec(imports)
        print(keras.models.load_model(sys.argv[1], compile=False).name, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.slow
def test_keras_loads_a_network_by_itself(tmp_path: Path) -> None:
    create_model("lenet5").save(tmp_path / "model.keras")
    done = subprocess.run(
        [sys.executable, "-c", IN_EACH_ORDER, tmp_path / "model.keras", *IMPORTS],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["lenet5"] * len(IMPORTS), done.stderr


NESTED: dict[str, dict[str, Any]] = {  # with the layer around another
    "stage1_block2_add": {"name": "resnet20_cifar", "depths": (2,), "survival": 0.5},
    "stage1_layer2_recomputed1": {
        "name": "densenet40_k12_cifar",
        "depths": (2,),
        "memory_efficient": True,
    },
}


@pytest.fixture(params=NESTED)
def nested(request: pytest.FixtureRequest) -> tuple[str, keras.Model]:
    """The name of a layer around others, and its network."""
    options = {"input_shape": (8, 8, 3), "classes": 5}
    return request.param, create_model(**options, **NESTED[request.param])


def test_a_summary_shows_layers_within_layers(nested: tuple[str, keras.Model]) -> None:
    name, model = nested
    lines: list[str] = []
    model.summary(expand_nested=True, print_fn=lines.append, line_length=200)
    inner = [layer.name for layer in model.get_layer(name).layers]
    assert len(inner) > 3
    for layer in (name, *inner):
        assert f" {layer} " in "\n".join(lines)


def test_a_walk_over_layers_freezes_every_batch_norm(
    nested: tuple[str, keras.Model],
) -> None:
    """As a user writes it who knows nothing of this library."""
    _, model = nested

    def freeze(layers: list[keras.layers.Layer]) -> None:
        for layer in layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
            freeze(getattr(layer, "layers", []))

    freeze(model.layers)
    statistics = [v for v in model.variables if v.name.startswith("moving_")]
    before = [np.array(v) for v in statistics]
    assert len(before) == 2 * sum(v.name == "gamma" for v in model.variables) > 4
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    model(x, training=True)
    for variable, value in zip(statistics, before, strict=True):
        np.testing.assert_array_equal(variable, value, variable.path)


@pytest.mark.slow
def test_recomputed_layers_are_reachable_and_cloned() -> None:
    options: dict[str, Any] = NESTED["stage1_layer2_recomputed1"] | {"classes": 5}
    model = create_model(input_shape=(8, 8, 3), **options)
    inner = model.get_layer("stage1_layer2_recomputed1").layers
    assert inner and all(model.get_layer(layer.name) is layer for layer in inner)
    clone = keras.models.clone_model(model, keras.Input((12, 20, 3)))
    clone.set_weights(model.get_weights())
    built = create_model(input_shape=(12, 20, 3), **options)
    built.set_weights(model.get_weights())
    assert count_macs(clone) == count_macs(built) > 0
    x = np.random.default_rng(0).normal(size=(2, 12, 20, 3)).astype("float32")
    np.testing.assert_array_equal(clone(x), built(x))
