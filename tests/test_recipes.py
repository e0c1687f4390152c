import inspect
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_resnet import list_models
from keras_resnet.errors import UsageError
from training.data.sources import SOURCES
from training.recipes.catalogue import RECIPES, load_recipe
from training.recipes.recipe import Recipe
from training.storage.writing import write_json


@pytest.mark.parametrize("name", RECIPES)
def test_row_is_possible(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe is RECIPES[name]
    assert recipe.model in list_models()
    assert recipe.dataset.partition(":")[0] in SOURCES


@pytest.mark.parametrize("name", RECIPES)
def test_row_round_trips_through_json(name: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    changed = replace(RECIPES[name], overrides=("shortcut=C",), seed=3)
    write_json(path, changed.to_dict())
    assert load_recipe(str(path)) == changed


def test_missing_fields_take_their_defaults() -> None:
    assert Recipe.from_dict({"epochs": 3, "milestones": [0.1]}) == Recipe(
        epochs=3, milestones=(0.1,)
    )


def test_numpy_numbers_are_plain_ones(tmp_path: Path) -> None:
    given = Recipe(
        epochs=np.int64(3),
        learning_rate=np.float32(0.5),
        image_size=np.int32(32),
        deterministic=np.bool_(True),
        milestones=np.array([0.25, 0.5]),
    )
    expected = Recipe(
        epochs=3,
        learning_rate=0.5,
        image_size=32,
        deterministic=True,
        milestones=(0.25, 0.5),
    )
    assert given == expected and repr(given) == repr(expected)
    write_json(tmp_path / "recipe.json", given.to_dict())
    assert load_recipe(str(tmp_path / "recipe.json")) == expected


def test_every_field_is_described() -> None:
    # The command line's help is these strings; tyro takes them from the source.
    source = "".join(inspect.getsource(group) for group in Recipe.__mro__[:-1])
    for field in fields(Recipe):
        after = source.partition(f"\n    {field.name}: ")[2]
        assert '\n    """' in after[:250], field.name


@pytest.mark.parametrize(
    "field, bad, message",
    [
        ("image_size", 0, "between 1 and 32768, got 0"),
        ("validation", -0.1, r"between 0 and 0\.9, got -0\.1"),
        ("validation", 0.95, r"between 0 and 0\.9, got 0\.95"),
        ("epochs", 0, "between 1 and 1000000, got 0"),
        ("batch_size", 0, "between 1 and 1048576, got 0"),
        ("learning_rate", -1.0, r"finite and greater than 0, got -1\.0"),
        ("learning_rate", 0.0, "finite and greater than 0, got 0"),
        ("learning_rate", float("nan"), "finite and greater than 0, got nan"),
        ("milestones", (0.5, 1.5), r"between 0 and 1, got 1\.5"),
        ("milestones", (-0.5,), r"between 0 and 1, got -0\.5"),
        ("warmup_epochs", -1.0, r"at least 0, got -1\.0"),
        ("warmup_epochs", 31.0, r"at most epochs \(30\), got 31\.0"),
        ("momentum", 1.1, r"between 0 and 1, got 1\.1"),
        ("weight_decay", -1e-4, r"at least 0, got -0\.0001"),
        ("pad", -1, "between 0 and 32768, got -1"),
        ("eval_crop", 0.0, r"between 0\.1 and 1, got 0\.0"),
        ("eval_crop", 1.01, r"between 0\.1 and 1, got 1\.01"),
        ("seed", -1, "between 0 and 2147483647, got -1"),
        ("seed", 2**31, "between 0 and 2147483647, got 2147483648"),
        ("model", None, "str, got None"),
        ("overrides", "shortcut=C", "a list, got 'shortcut=C'"),
        ("dataset", 3, "str, got 3"),
        ("image_size", 32.0, r"int or NoneType, got 32\.0"),
        ("epochs", 1.5, r"int, got 1\.5"),
        ("epochs", True, "int, got True"),
        ("epochs", "3", "int, got '3'"),
        ("learning_rate", "0.1", "float, got '0.1'"),
        ("learning_rate", None, "float, got None"),
        ("milestones", 0.5, r"a list, got 0\.5"),
        ("nesterov", 1, "bool, got 1"),
        ("schedule", "poly", "one of constant, step, .*, one_cycle, got 'poly'"),
        ("optimizer", "adam", "one of sgd, adamw, lamb, got 'adam'"),
        ("accumulation", 0, "at least 1, got 0"),
        ("accumulation", 129, r"at most batch_size \(128\), got 129"),
        ("base_batch_size", -1, "between 0 and 1048576, got -1"),
        ("peak_at", 1.0, r"between 0\.01 and 0\.99, got 1\.0"),
        ("warmup", "cosine", "one of linear, constant, got 'cosine'"),
        ("warmup_steps", -1, "between 0 and 1000000000, got -1"),
        ("warmup_from", 1.5, r"between 0 and 1, got 1\.5"),
        ("clip_norm", -1.0, r"at least 0, got -1\.0"),
        ("ema", 1.0, r"between 0 and 0\.999999, got 1\.0"),
        ("loss", "hinge", "one of softmax, bce, got 'hinge'"),
        ("label_smoothing", 1.0, r"between 0 and 0\.99, got 1\.0"),
        ("bce_threshold", 0.2, r"None unless loss is bce, got 0\.2 with loss softmax"),
        ("cache_side", 64, r"None unless cache is decoded, got 64 with cache none"),
        ("policy", "auto", "one of none, randaugment, .*, got 'auto'"),
        ("policy_count", 0, "between 1 and 10, got 0"),
        ("policy_magnitude", 11.0, r"between 0 and 10, got 11\.0"),
        ("policy_probability", 1.1, r"between 0 and 1, got 1\.1"),
        ("color_jitter", 1.1, r"between 0 and 1, got 1\.1"),
        ("lighting", -0.1, r"between 0 and 1, got -0\.1"),
        ("erasing", 2.0, r"between 0 and 1, got 2\.0"),
        ("mixup", -0.1, r"between 0 and 1000, got -0\.1"),
        ("cutmix", -0.1, r"between 0 and 1000, got -0\.1"),
        ("repeats", 0, "between 1 and 1000, got 0"),
        ("train_size", 0, "between 1 and 32768, got 0"),
        ("progressive", (0.0,), r"between 0\.1 and 1, got 0\.0"),
        ("weights", 1, "str or NoneType, got 1"),
        ("freeze", "stem", "a list, got 'stem'"),
        ("head_learning_rate", 0.0, "finite and greater than 0, got 0"),
        ("decay", "none", "one of kernels, all, got 'none'"),
        ("augmentation", "crop", "one of auto, none, pad_crop, .*, got 'crop'"),
        ("flip", True, "one of auto, on, off, got True"),
        ("precision", "fp16", "one of auto, float32, .*, got 'fp16'"),
        ("xla", "yes", "one of auto, on, off, got 'yes'"),
    ],
)
def test_bad_value_is_refused(field: str, bad: Any, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{field} must be {message}"):
        Recipe(**{field: bad})


def test_more_progressive_sizes_than_epochs_are_refused() -> None:
    with pytest.raises(UsageError, match=r"^sizes in progressive .* \(1\), got 2$"):
        Recipe(epochs=2, progressive=(0.5, 0.75))


@pytest.mark.parametrize(
    "field, values",
    [
        ("image_size", (None, 1)),
        ("validation", (0, 0.9)),
        ("learning_rate", (1e-9, 1)),
        ("milestones", ((), (0,), (0.5, 1.0))),
        ("warmup_epochs", (0, 30)),
        ("momentum", (0.0, 1.0)),
        ("pad", (None, 0)),
        ("eval_crop", (None, 0.1, 1)),
        ("seed", (0, 2**31 - 1)),
    ],
)
def test_bounds_are_allowed(field: str, values: tuple[Any, ...]) -> None:
    for value in values:
        assert getattr(Recipe(**{field: value}), field) == value


@pytest.mark.parametrize(
    "text, value",
    [
        ("depths=(1,1,1)", (1, 1, 1)),
        ("depths=1,2", (1, 2)),
        ("depths=[1,1,1]", (1, 1, 1)),
        ("connections=[[0, 1], (2,)]", ((0, 1), (2,))),
        ("depths={1: 2}", "{1: 2}"),
        ("depths=[{1}]", "[{1}]"),
        ("shortcut=C", "C"),
        ("shortcut='C'", "C"),
        ("survival=0.5", 0.5),
        ("width=32", 32),
        ("projection=None", None),
        ("squeeze=True", True),
        ("name=a=b", "a=b"),
    ],
)
def test_override_is_read(text: str, value: Any) -> None:
    field = text.partition("=")[0]
    assert Recipe(overrides=(text,)).spec_fields == {field: value}


@pytest.mark.parametrize("text", ["", "shortcut", "shortcut=", "=C", "="])
def test_malformed_override_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="overrides must have the form FIELD=VALUE"):
        Recipe(overrides=("width=32", text))


@pytest.mark.parametrize(
    "name, hint",
    [
        ("epoch", r"did you mean 'epochs'\? fields: model, "),
        ("learning-rate", r"did you mean 'learning_rate' or .*fields: "),
        ("zzz", "fields: model, "),
    ],
)
def test_unknown_field_is_reported_with_a_suggestion(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"^unknown recipe field '{name}'; {hint}"):
        Recipe.from_dict({name: 1})


@pytest.mark.parametrize(
    "content, message",
    [
        (b'{"epochs": ', "must be JSON, got Expecting value"),
        (b"\xff\xfe", "must be JSON, got "),
        (b"[1, 2]", r"must be a JSON object, got \[1, 2\]"),
        (b'{"recipe": 5}', "must be a JSON object, got 5"),
        (b"[" * 100_000, "must be JSON, got "),
        (b'{"epochs": 0}', "epochs must be between 1 and 1000000, got 0"),
        (b'{"epoch": 1}', "unknown recipe field 'epoch'"),
    ],
)
def test_bad_file_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load_recipe(str(path))


@pytest.mark.parametrize("name", ["resnet_mnist", "", "."])
def test_unknown_recipe_is_refused(name: str) -> None:
    expected = f"recipe must be one of {', '.join(RECIPES)} or a JSON file, got"
    with pytest.raises(UsageError, match=expected):
        load_recipe(name)


@pytest.mark.parametrize(
    "values",
    [
        {"milestones": ["half"]},
        {"milestones": [True]},
        {"milestones": [0.75, 0.5]},
        {"progressive": [0.75, 0.5]},
        {"overrides": [1]},
        {"learning_rate": float("inf")},
    ],
)
def test_odd_values_of_a_file_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Recipe.from_dict(values)
