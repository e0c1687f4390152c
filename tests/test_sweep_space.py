"""Spaces: what a text means, what is refused, and which points there are."""

import math

import pytest

from keras_resnet.errors import UsageError
from training.recipes.recipe import Recipe
from training.sweeps.points import apply_point, require_possible
from training.sweeps.space import KEPT, Choice, Range, points, read_space, size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cardinality=1,2,4", Choice((1, 2, 4))),
        ("survival=0.5,1", Choice((0.5, 1.0))),
        ("shortcut=A,B", Choice(("A", "B"))),
        ("depths=(1,1,1),(2,2,2)", Choice(((1, 1, 1), (2, 2, 2)))),
        ("depths=[1,1,1],(2,2,2),[2,2,2]", Choice(((1, 1, 1), (2, 2, 2)))),
        ("connections=[[0,1],[2]],5", Choice((((0, 1), (2,)), 5))),
        ("image_size=None,32", Choice((None, 32))),
        ("group_width=?", Choice(("?",))),
        ("nesterov=True,False", Choice((True, False))),
        ("width=8,8,16", Choice((8, 16))),
        ("width=8..64", Range(8, 64)),
        ("learning_rate=1e-3..1e0:log", Range(1e-3, 1.0, log=True)),
    ],
)
def test_a_text_is_a_field_with_values(text: str, expected: Choice | Range) -> None:
    assert list(read_space([text]).values()) == [expected]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["width"], r"FIELD=VALUE,VALUE,… or FIELD=LOW\.\.HIGH.* got 'width'"),
        (["width="], "got 'width='"),
        (["width=1,2", "width=3"], "each field once, got width twice"),
        (
            ["width=8..4"],
            r"width must range from one number to a higher.* got '8\.\.4'",
        ),
        (["width=a..b"], "width must range"),
        (["width=8..8"], r"width must range from .* got '8\.\.8'"),
        (["width=8..nan"], r"width must range from .* got '8\.\.nan'"),
        (["mixup=0.1..1e999"], r"mixup must range from .* got '0\.1\.\.1e999'"),
        ([f"width=1..{10**30}"], "width must range from one number to a higher one"),
        (["width=1,,2"], "values of width must not be empty, got '1,,2'"),
        (["depths=(1,1),(2"], r"brackets of depths must match, got '\(1,1\),\(2'"),
        (["width=0..4:log"], "logarithmic range must start above 0"),
        (["width=1..4:cubic"], "scale must be log or omitted, got 'cubic'"),
    ],
)
def test_other_texts_are_refused(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_space(texts)


def test_numbers_of_one_type_have_an_order() -> None:
    assert Choice((1, 2)).numeric and Choice((0.5, 1.0)).numeric
    assert not Choice(("A", "B")).numeric and not Choice((True, False)).numeric


def test_a_range_has_a_grid_with_both_ends() -> None:
    assert Range(1, 4).grid == (1, 2, 3, 4)
    found = Range(1e-3, 1.0, log=True).grid
    assert len(found) == 10 and found[0] == pytest.approx(1e-3)
    assert found[-1] == pytest.approx(1.0)
    assert found[1] / found[0] == pytest.approx(found[9] / found[8])


def test_points_are_all_combinations() -> None:
    space = read_space(["width=16,32", "shortcut=A,B"])
    assert list(points(space)) == [
        {"width": 16, "shortcut": "A"},
        {"width": 16, "shortcut": "B"},
        {"width": 32, "shortcut": "A"},
        {"width": 32, "shortcut": "B"},
    ]
    assert size(space) == 4
    assert size(read_space(["width=1..10"])) == 10
    assert size(read_space(["survival=0.1..0.9"])) == math.inf


def test_a_point_replaces_and_overrides() -> None:
    base = Recipe(overrides=("width=8", "shortcut=B"), learning_rate=0.2)
    found = apply_point(base, {"learning_rate": 0.1, "width": 32, "depths": (1, 2, 1)})
    assert found.learning_rate == 0.1
    assert found.spec_fields == {"shortcut": "B", "width": 32, "depths": (1, 2, 1)}
    assert apply_point(base, {"width": KEPT}) == base


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "space must have at least one field, got none"),
        (["cardinalty=1,2"], "no field 'cardinalty'; did you mean 'cardinality'"),
        (
            ["dataset=digits,idx:X"],
            "can differ between trials, got 'dataset'.* use --dataset",
        ),
        (["cardinality=0"], "cardinality must be at least 1, got 0"),
        (["learning_rate=-1.0"], "learning_rate must be finite and greater than 0"),
        (["depths={1,2}"], r"depths of .* must be of type tuple, got '\{1'"),
        (["depths={1:2}"], r"depths of .* must be of type tuple, got '\{1:2\}'"),
        (["depths=None"], r"depths of .* must be of type tuple, got None"),
        (["depths=[1,[2]]"], r"depths must be one positive unit count per stage"),
        (["weight_decay=1e999"], "weight_decay must be at least 0 and finite, got inf"),
        (["survival=0.5,two"], "survival of .* must be of type float, got 'two'"),
        (["model=resnet20_cifar,resnet21_cifar"], "unknown model 'resnet21_cifar'"),
    ],
)
def test_impossible_fields_and_values_are_refused(
    texts: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        require_possible(read_space(texts), Recipe(model="resnext29_8x64d_cifar"))


def test_a_field_must_be_one_of_all_models() -> None:
    space = read_space(["model=resnet20_cifar,densenet40_k12_cifar", "survival=0.5"])
    with pytest.raises(UsageError, match="no field 'survival'"):
        require_possible(space, Recipe())
