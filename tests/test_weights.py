"""Weights from keras.applications, from files, and between forms of a network."""

import sys
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_resnet import UsageError, create_model, weights
from keras_resnet.families.branch import ORDERS
from keras_resnet.network import quick_variables
from keras_resnet.weights import files
from keras_resnet.weights.assign import weights_of

TINY: dict[str, Any] = {"depths": (2, 1), "input_shape": (8, 8, 3)}
SMALL_RESNEXT: dict[str, Any] = {
    "depths": (2, 1),
    "width": 8,
    "cardinality": 4,
    "group_width": 2,
    "stem": "cifar",
    "input_shape": (8, 8, 3),
    "classes": 3,
}


def shapes(side: int, count: int = 2) -> np.ndarray:
    """Images of large shapes: noise averages out to the same logits."""
    y, x = np.mgrid[:side, :side].astype("float32") * (7 / side)
    waves = [
        np.sin((n + 1) * x + c) * np.cos((c + 1) * y / (n + 1))
        for n in range(count)
        for c in range(3)
    ]
    return np.stack(waves, -1).reshape(side, side, count, 3).transpose(2, 0, 1, 3)


def live(reference: keras.Model) -> keras.Model:
    """Gives statistics, γ, β and biases values as training would."""
    rng = np.random.default_rng(0)
    for layer in reference.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight in layer.weights:
                spread = rng.uniform(0.5, 1.0, weight.shape)
                centred = weight.name in ("beta", "moving_mean")
                weight.assign(spread - 0.75 if centred else spread)
        elif getattr(layer, "use_bias", False):
            layer.bias.assign(rng.uniform(-0.5, 0.5, layer.bias.shape))
    return reference


THEIRS: dict[str, Any] = {"weights": None, "input_shape": (64, 64, 3)}


@pytest.fixture(scope="module")
def reference() -> Callable[[str], keras.Model]:
    """Makes a live network of keras.applications, once."""

    @cache
    def build(name: str) -> keras.Model:
        with quick_variables():
            network = getattr(keras.applications, name)
            return live(network(classifier_activation=None, **THEIRS))

    return build


@pytest.mark.slow
@pytest.mark.parametrize("name", files.IMAGENET)
def test_logits_are_those_of_keras_applications(
    name: str,
    reference: Callable[[str], keras.Model],
    request: pytest.FixtureRequest,
) -> None:
    theirs = reference(files.IMAGENET[name])
    request.getfixturevalue("undrawn")
    model = create_model(name, input_shape=(64, 64, 3))
    weights.load_keras_applications(model, theirs)
    images = 120 * shapes(64)  # as large as Keras' preprocessing makes them
    expected = np.asarray(theirs(images, training=False))
    logits = np.asarray(model(images, training=False))
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.ptp(expected))
    assert np.abs(expected[0] - expected[1]).max() > 1e-2 * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "other", "message"),
    [
        (
            "resnet101_v2",
            {"depths": (1, 1)},
            "ResNet101V2",
            "unlike the paper; load it into 'resnet50_v2_",
        ),
        (
            "resnet50_v1_5",
            {"depths": (1, 1)},
            "ResNet50",
            "in the first 1×1 .* into 'resnet50', ",
        ),
        (
            "resnet50",
            {"depths": (3, 4, 6, 2)},
            "ResNet50",
            r"\d+ unknown \(conv5_block3",
        ),
        (
            "densenet121",
            {"depths": (1, 1)},
            "ResNet50",
            r"must fit densenet121, got \d+ missing",
        ),
    ],
)
def test_another_network_is_refused(
    name: str,
    options: dict[str, Any],
    other: str,
    message: str,
    reference: Callable[[str], keras.Model],
) -> None:
    model = create_model(name, input_shape=(64, 64, 3), **options)
    with pytest.raises(UsageError, match=message) as error:
        weights.load_keras_applications(model, reference(other))
    assert len(str(error.value)) < 700 and "\n" not in str(error.value)


@pytest.mark.slow
def test_without_top_the_head_stays(reference: Callable[[str], keras.Model]) -> None:
    whole = reference("ResNet50")
    pooled = whole.get_layer("avg_pool").output
    without = keras.Model(whole.input, pooled, name=whole.name)
    model = create_model("resnet50", input_shape=(64, 64, 3), classes=4)
    with pytest.warns(UserWarning, match="resnet50 has no head for 4 classes"):
        weights.load_keras_applications(model, without)
    features = keras.Model(model.input, model.get_layer("pool").output)
    images = shapes(64)
    expected = np.asarray(without(images, training=False))
    np.testing.assert_allclose(
        features(images, training=False), expected, rtol=0, atol=1e-5 * np.ptp(expected)
    )
    headless = create_model("resnet50", input_shape=(64, 64, 3), classes=0)
    weights.load_keras_applications(headless, without)
    for mine, loaded in zip(headless.weights, features.weights, strict=True):
        np.testing.assert_array_equal(mine, loaded)


def gradients(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    """The output, and what the weights' gradients are in form C."""
    with tf.GradientTape() as tape:
        y = model(images, training=True)
        total = tf.reduce_sum(y * tf.constant([1.0, -2.0, 0.5]))
    variables = model.trainable_variables
    slopes = dict(
        zip((v.path for v in variables), tape.gradient(total, variables), strict=True)
    )
    for variable in model.variables:
        if variable.path in slopes:
            variable.assign(slopes[variable.path])
    return y


@pytest.mark.slow
@pytest.mark.parametrize(  # every form to every other, either order thrice
    ("source", "target", "order"),
    [
        *((*forms, "original") for forms in ("AB", "BC", "CA")),
        *((*forms, "full_preactivation") for forms in ("BA", "CB", "AC")),
    ],
)
def test_forms_are_the_same_function(
    source: str, target: str, order: str, enliven: Callable[[keras.Model], keras.Model]
) -> None:
    """Xie et al., 2017, fig. 3: outputs and gradients, whatever the layout."""
    one, other = (
        create_model("resnext50_32x4d", form=form, order=order, **SMALL_RESNEXT)
        for form in (source, target)
    )
    enliven(one)
    weights.transfer(one, other)
    images = shapes(8, 4)
    np.testing.assert_allclose(
        other(images, training=False), one(images, training=False), rtol=0, atol=1e-5
    )
    # In training, and the gradients: assigned as weights, carried over to compare.
    y_one, y_other = gradients(one, images), gradients(other, images)
    np.testing.assert_allclose(y_other, y_one, rtol=0, atol=1e-5)
    slopes = {name: np.array(slope) for name, slope in weights_of(other).items()}
    weights.transfer(one, other)
    for name, slope in weights_of(other).items():
        mine = slopes[name]
        scale = max(1.0, float(np.abs(mine).max()))
        np.testing.assert_allclose(mine, slope, rtol=0, atol=1e-5 * scale, err_msg=name)


# Fields that change what is computed, of the same weights.
OTHERS: list[dict[str, Any]] = [
    {"order": "relu_before_addition"},
    {"order": "relu_only_preactivation"},
    {"skip": "constant_scaling"},
    {"shortcut": "none", "depths": (2,)},
    {"halve_in": "last"},
]
SAVED = ("model.keras", "model.h5", "model.weights.h5")


def same_everywhere(one: keras.Model, other: keras.Model) -> None:
    images = shapes(8)
    np.testing.assert_allclose(
        other(images, training=False), one(images, training=False), rtol=0, atol=1e-6
    )


def refused(model: keras.Model, load: Callable[[], None], message: str) -> None:
    before = model.get_weights()
    with pytest.raises(UsageError, match=message) as error:
        load()
    assert "\n" not in str(error.value) and len(str(error.value)) < 700
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.fixture(scope="module")
def tiny() -> Callable[..., keras.Model]:
    """Makes a tiny network of some fields, once."""
    return cache(lambda **fields: create_model("resnet20_cifar", **TINY | fields))


@pytest.mark.parametrize(
    ("way", "fields"),
    [
        *((way, fields) for way in ("cloned", *SAVED[1:]) for fields in OTHERS),
        (SAVED[0], {"skip": "constant_scaling"}),
    ],
    ids=str,
)
def test_another_function_is_refused(
    fields: dict[str, Any], way: str, tmp_path: Path, tiny: Callable[..., keras.Model]
) -> None:
    source = tiny(**fields)
    model = tiny(depths=fields.get("depths", (2, 1)))
    if way == "cloned":
        source = keras.models.clone_model(source)
        load = partial(weights.transfer, source, model)
    else:
        path = saved(source, tmp_path / way)
        load = partial(weights.load_file, model, path)
    message = r"must come from a network that computes what resnet20_cifar does, got \d"
    refused(model, load, message)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, fields",
    [
        *(("resnet20_cifar", {"order": order}) for order in ORDERS),
        ("resnet20_cifar", {"skip": "exclusive_gating"}),
        *(("resnext50_32x4d", {"form": form}) for form in "ABC"),
        ("resnext50_32x4d", {"form": "A", "order": "full_preactivation"}),
    ],
    ids=str,
)
def test_branches_are_rescaled_where_they_survive_otherwise(
    name: str, fields: dict[str, Any], enliven: Callable[[keras.Model], keras.Model]
) -> None:
    options = (TINY if name == "resnet20_cifar" else SMALL_RESNEXT) | fields
    one = enliven(create_model(name, **options))
    images = shapes(8)
    expected = np.asarray(one(images, training=False))
    for survival in (0.5, 0.8, 1.0):  # from none to some, to others, and to none
        other = create_model(name, survival=survival, **options)
        weights.transfer(one, other)
        np.testing.assert_allclose(
            other(images, training=False),
            expected,
            rtol=0,
            atol=1e-5 * np.ptp(expected),
        )
        one = other


def saved(model: keras.Model, path: Path) -> Path:
    with warnings.catch_warnings(action="ignore"):  # of Keras, about its old format
        weights_only = path.name.endswith(".weights.h5")
        model.save_weights(path) if weights_only else model.save(path)
    return path


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"drop_mode": "sample", "survival": 0.5}, marks=pytest.mark.slow),
        pytest.param({"skip": "dropout", "survival": 0.5}, marks=pytest.mark.slow),
        {"survival": 0.5, "classes": 0},
    ],
    ids=str,
)
def test_what_only_training_sees_may_differ(
    fields: dict[str, Any], enliven: Callable[[keras.Model], keras.Model]
) -> None:
    classes = {"classes": fields.get("classes", 10)}
    one = enliven(create_model("resnet20_cifar", survival=0.5, **TINY, **classes))
    other = create_model("resnet20_cifar", **TINY, **fields)
    weights.transfer(one, other)
    same_everywhere(one, other)


@pytest.mark.parametrize("name", SAVED)
def test_a_file_without_a_head_keeps_a_fresh_one(
    name: str, tmp_path: Path, enliven: Callable[[keras.Model], keras.Model]
) -> None:
    options = TINY | {"survival": 0.5, "depths": (1,)}
    one = enliven(create_model("resnet20_cifar", classes=0, **options))
    path = saved(one, tmp_path / name)
    message = "no head for 4 classes: .* keeps the initial weights of logits$"
    with pytest.warns(UserWarning, match=message):
        other = create_model("resnet20_cifar", classes=4, weights=path, **options)
    backbone = keras.Model(other.input, other.get_layer("pool").output)
    same_everywhere(one, backbone)
    again = create_model("resnet20_cifar", classes=0, weights=path, **options)
    same_everywhere(one, again)


@pytest.mark.parametrize(
    ("form", "name"),
    [
        pytest.param("A", "model.h5", marks=pytest.mark.slow),
        pytest.param("A", "model.weights.h5", marks=pytest.mark.slow),
        pytest.param("C", "model.weights.h5", marks=pytest.mark.slow),
    ],
)
def test_h5_files_of_a_form(
    name: str,
    form: str,
    tmp_path: Path,
    enliven: Callable[[keras.Model], keras.Model],
) -> None:
    # Twelve paths, the tenth of which files list ahead of the second.
    options = SMALL_RESNEXT | {"survival": 0.5, "cardinality": 12, "depths": (1,)}
    one = enliven(create_model("resnext50_32x4d", form=form, **options))
    path = saved(one, tmp_path / name)
    other = create_model("resnext50_32x4d", form="B", weights=path, **options)
    images = shapes(8)
    np.testing.assert_allclose(other(images), one(images), rtol=0, atol=1e-5)


TINY_VGG: dict[str, Any] = {"input_shape": (32, 32, 3), "hidden": 8}


@pytest.fixture(scope="module")
def vgg() -> keras.Model:
    """keras.applications' VGG16 without its top."""
    return live(
        keras.applications.VGG16(
            weights=None, input_shape=(32, 32, 3), include_top=False
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "classes"), [("model", 0), *((way, 4) for way in ("model", *SAVED))]
)
def test_vgg_without_its_top(
    vgg: keras.Model, way: str, classes: int, tmp_path: Path
) -> None:
    model = create_model("vgg16", classes=classes, **TINY_VGG)
    message = r"no hidden layers" if classes == 0 else "no head for 4 classes"
    with pytest.warns(UserWarning, match=rf"{message}: .* initial weights of fc1, fc2"):
        if way == "model":
            weights.load_keras_applications(model, vgg)
        else:
            weights.load_file(model, saved(vgg, tmp_path / way))
    features = keras.Model(model.input, model.get_layer("stage5_pool").output)
    expected = np.asarray(vgg(shapes(32), training=False))
    np.testing.assert_allclose(
        features(shapes(32)), expected, rtol=0, atol=1e-5 * np.ptp(expected)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [{"order": "relu_before_addition"}, {"skip": "constant_scaling"}],
    ids=str,
)
def test_another_function_than_keras_applications_is_refused(
    fields: dict[str, Any], reference: Callable[[str], keras.Model]
) -> None:
    model = create_model("resnet50", input_shape=(32, 32, 3), **fields)
    load = partial(weights.load_keras_applications, model, reference("ResNet50"))
    refused(model, load, "come from a network that computes what resnet50 does, got")


def test_transfer_of_another_network_is_refused() -> None:
    one = create_model("resnet20_cifar", **TINY)
    other = create_model("resnet20_cifar", depths=(3, 1), input_shape=(8, 8, 3))
    with pytest.raises(UsageError, match=r"10 missing \(stage1_block3_conv1/kernel"):
        weights.transfer(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["model.keras", "model.weights.h5"])
@pytest.mark.parametrize("survival", [1.0, 0.5])
def test_files_of_this_library(
    suffix: str,
    survival: float,
    tmp_path: Path,
    enliven: Callable[[keras.Model], keras.Model],
) -> None:
    model = enliven(create_model("resnet20_cifar", survival=survival, **TINY))
    path = tmp_path / suffix
    model.save(path) if suffix.endswith(".keras") else model.save_weights(path)
    again = create_model("resnet20_cifar", weights=path, survival=survival, **TINY)
    images = shapes(8)
    np.testing.assert_array_equal(again(images), model(images))
    with pytest.warns(UserWarning, match="no head for 4 classes"):
        other = create_model(
            "resnet20_cifar", weights=str(path), classes=4, survival=survival, **TINY
        )
    np.testing.assert_array_equal(
        other.get_layer("stem_conv").kernel, model.get_layer("stem_conv").kernel
    )
    assert other.output_shape == (None, 4)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere.keras", None, "must be 'imagenet' or an existing file, got"),
        ("model.txt", b"x", r"must end in one of .keras, .weights.h5, .pth, .*got"),
        ("model.keras", b"junk", "must be a complete .keras file"),
        ("model.weights.h5", b"junk", "must be a complete file of this network, got"),
    ],
)
def test_bad_file_is_refused(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as error:
        create_model("resnet20_cifar", weights=path, **TINY)
    assert "\n" not in str(error.value)


def test_weights_file_of_another_network_is_a_diff(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    create_model("resnet20_cifar", **TINY | {"depths": (1, 1)}).save_weights(path)
    with pytest.raises(
        UsageError,
        match=r"got 10 missing \(stage1_block2_conv1/kernel \(3, 3, 16, 16\)",
    ):
        create_model("resnet20_cifar", weights=path, **TINY | {"depths": (2, 1)})
    with pytest.raises(
        UsageError, match=r"got \d+ of a different shape \(\w+/kernel \(.*\) for \("
    ):
        create_model(
            "resnet20_cifar", weights=path, width=32, **TINY | {"depths": (1, 1)}
        )


def test_weights_file_of_another_network_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    create_model("resnet20_cifar", **TINY | {"depths": (1, 1)}).save_weights(path)
    model = create_model("resnet20_cifar", **TINY)
    before = model.get_weights()
    with pytest.raises(UsageError, match="must fit resnet20_cifar, got"):
        weights.load_file(model, path)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_torch_files(tmp_path: Path) -> None:
    state = {"conv1.weight": np.zeros((64, 3, 7, 7))}
    path = tmp_path / "model.safetensors"
    safetensors = pytest.importorskip("safetensors.numpy")
    safetensors.save_file(state, path)
    with pytest.raises(
        UsageError, match=r"weights of the state dict must fit resnet18"
    ):
        create_model("resnet18", weights=path, depths=(1,), input_shape=(32, 32, 3))


def test_torch_files_need_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / "model.pth"
    path.write_bytes(b"x")
    with pytest.raises(UsageError, match=r"needs the package torch, .*\[torch\]"):
        create_model("resnet18", weights=path, depths=(1,), input_shape=(32, 32, 3))


@pytest.mark.slow
def test_imagenet_is_keras_applications(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3))
    reference.get_layer("block1_conv1").kernel.assign(np.full((3, 3, 3, 64), 0.25))
    monkeypatch.setattr(keras.applications, "VGG16", lambda: reference)
    model = create_model("vgg16", weights="imagenet", input_shape=(32, 32, 3))
    assert set(np.unique(model.get_layer("stage1_conv1").kernel)) == {0.25}


def test_imagenet_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"exist for resnet50, .*, got resnet20_cifar"):
        create_model("resnet20_cifar", weights="imagenet", **TINY)

    def fails() -> keras.Model:
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "ResNet50", fails)
    with pytest.raises(UsageError, match=r"must be downloadable .*got URL fetch"):
        create_model("resnet50", weights="imagenet", depths=(1,))
