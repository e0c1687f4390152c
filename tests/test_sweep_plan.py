"""Networks of equal cost: the papers' numbers, and budgets."""

import gc
import weakref
from typing import Any

import keras
import pytest

from keras_resnet.errors import UsageError
from keras_resnet.models import create_model
from training.recipe import Recipe
from training.sweep import make_plan
from training.sweeps import cost
from training.sweeps.cost import Budget, nearest, network_cost
from training.sweeps.options import Search
from training.sweeps.presets import PRESETS
from training.sweeps.space import KEPT
from training.sweeps.trials import shortened

TINY = Recipe(model="resnext29_8x64d_cifar", overrides=("depths=(1,1)", "width=8"))


@pytest.mark.parametrize(("cardinality", "width"), [(2, 40), (4, 24), (8, 14), (32, 4)])
@pytest.mark.slow
def test_widths_of_the_paper_s_table_come_out(cardinality: int, width: int) -> None:
    # Xie et al., 2017, table 2: each has about the complexity of 1×64d, ResNet-50's.
    shape = (224, 224, 3)

    def params(group_width: int) -> int:
        spec = (("cardinality", cardinality), ("group_width", group_width))
        return network_cost("resnext50_32x4d", spec, shape, 1000).params

    target = network_cost("resnet50", (), shape, 1000).params
    # The paper chose even numbers.
    assert abs(nearest(params, target) - width) <= 1
    assert params(width) == pytest.approx(target, rel=0.03)


def test_the_nearest_whole_number_is_found() -> None:
    assert nearest(lambda n: n * n, 50) == 7
    assert nearest(lambda n: n * n, 0.2) == 1
    assert nearest(lambda n: None if n < 5 else n, 2) == 5
    with pytest.raises(UsageError, match=r"some width up to .* must come to a cost"):
        nearest(lambda n: None, 2)


@pytest.mark.slow
def test_networks_of_a_match_cost_the_same() -> None:
    search = Search(space=("cardinality=1,2,4",), match=("params", "self"))
    base = Recipe(
        model="resnext29_8x64d_cifar", overrides=("depths=(1,1,1)", "group_width=32")
    )
    plan = make_plan(search, base)
    assert plan.fields == ["cardinality", "group_width"]
    target = plan.cost(base).params
    assert plan.target == target
    for point in plan.points:
        recipe = plan.recipe_at(point)
        assert recipe.spec_fields["cardinality"] == point["cardinality"]
        assert plan.cost(recipe).params == pytest.approx(target, rel=0.02)


@pytest.mark.slow
def test_the_field_that_is_solved_can_be_said() -> None:
    search = Search(space=("group_width=4", "cardinality=?"), match=("macs", "2*self"))
    plan = make_plan(search, TINY)
    (point,) = plan.points
    found = plan.recipe_at(point)
    assert found.spec_fields["cardinality"] > 8
    wanted = 2 * plan.cost(TINY).macs
    assert plan.target == wanted
    assert plan.cost(found).macs == pytest.approx(wanted, rel=0.02)


@pytest.mark.slow
def test_a_match_may_be_another_network() -> None:
    search = Search(space=("survival=0.5,1.0",), match=("params", "resnet32_cifar"))
    plan = make_plan(search, Recipe(model="resnet20_cifar"))
    found = plan.recipe_at(plan.points[0])
    shape, classes = (8, 8, 1), 10
    target = network_cost("resnet32_cifar", (), shape, classes).params
    assert plan.cost(found).params == pytest.approx(target, rel=0.06)
    assert found.spec_fields["width"] > 16


@pytest.mark.parametrize(
    ("match", "message"),
    [
        (("flops", "self"), "match must begin with params or macs, got 'flops'"),
        (("params", "resnet5"), "unknown model 'resnet5'"),
        (("params", "-2*self"), r"FACTOR\*NETWORK with a factor above 0, got '-2"),
    ],
)
def test_other_matches_are_refused(match: tuple[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Budget(match=match)


def test_a_match_needs_a_width() -> None:
    search = Search(
        space=("group_width=4", "width=8,16"), match=("params", "resnet20_cifar")
    )
    with pytest.raises(UsageError, match="--match must have a width to choose"):
        make_plan(search, TINY)


def test_points_above_the_budget_are_left_out() -> None:
    sizes = {n: make_plan(Search(space=(f"cardinality={n}",)), TINY) for n in (1, 8)}
    costs = {
        n: plan.cost(plan.recipe_at(plan.points[0])).params for n, plan in sizes.items()
    }
    search = Search(space=("cardinality=1,8",), max_params=costs[8] - 1)
    plan = make_plan(search, TINY)
    assert [plan.allows(point) for point in plan.points] == [True, False]
    assert plan.count("grid", None) == 1


def test_points_without_a_network_are_left_out() -> None:
    # Shortcut A cannot go from the stem's 16 channels to 4; only building shows it.
    search = Search(space=("width=16,4",), max_params=10**7)
    plan = make_plan(search, Recipe(overrides=("depths=(1,1,1)",)))
    assert plan.left_out() == [{"width": 4}]
    assert plan.count("grid", None) == 1
    with pytest.raises(UsageError, match="must have a network that can be built, got"):
        make_plan(Search(space=("width=2,4",), max_params=10**7), Recipe())


@pytest.mark.slow
def test_a_large_space_is_not_enumerated() -> None:
    names = ("learning_rate", "momentum", "weight_decay", "ema", "erasing", "mixup")
    texts = [f"{name}=0.1..0.9" for name in (*names, "cutmix", "color_jitter")]
    plan = make_plan(Search(space=(*texts, "cardinality=1,2"), max_macs=10**12), TINY)
    assert plan.fields == [*names, "cutmix", "color_jitter", "cardinality"]
    assert plan.count("random", 20) == 20


def test_asking_for_a_cost_keeps_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[keras.Model]] = []

    def remembered(*arguments: Any, **options: Any) -> keras.Model:
        network = create_model(*arguments, **options)
        made.append(weakref.ref(network))
        return network

    monkeypatch.setattr(cost, "create_model", remembered)
    network_cost("resnet20_cifar", (("width", 17),), (8, 8, 1), 10)
    gc.collect()
    assert [network() for network in made] == [None]


def test_an_impossible_budget_says_the_smallest_possible() -> None:
    search = Search(space=("cardinality=1,8", "learning_rate=0.1,0.2"), max_params=10)
    least = make_plan(Search(space=("cardinality=1",)), TINY)
    params = least.cost(least.recipe_at({"cardinality": 1})).params
    with pytest.raises(
        UsageError,
        match=rf"smallest of the space has {params:,} parameters .*"
        r"\(cardinality=1\)",
    ):
        make_plan(search, TINY)
    for name in ("max_params", "max_macs"):
        with pytest.raises(UsageError, match=f"{name} must be at least 1, got 0"):
            Budget(**{name: 0})


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_possible(name: str) -> None:
    preset = PRESETS[name]
    plan = make_plan(Search(preset=name), Recipe(**preset.recipe))
    assert len(plan.points) >= 3
    assert preset.source
    model = preset.recipe.get("model", Recipe().model)
    for point in plan.points:
        if plan.solved(point) is None:
            recipe = plan.recipe_at(point)
            assert recipe.model == point.get("model", model)
            moved = {n: v for n, v in point.items() if v != KEPT and n != "model"}
            assert recipe.spec_fields.items() >= moved.items()


@pytest.mark.slow
def test_twice_the_cost_as_depth_width_and_cardinality() -> None:
    preset = PRESETS["width-depth-cardinality"]
    recipe = Recipe(**preset.recipe)
    plan = make_plan(Search(preset="width-depth-cardinality"), recipe)
    base, *others = [plan.cost(plan.recipe_at(p)).macs for p in plan.points]
    assert plan.target == 2 * base
    assert others == pytest.approx([2 * base] * 3, rel=0.1)


def test_short_trials_keep_the_shape_of_the_recipe() -> None:
    recipe = Recipe(
        epochs=8, warmup_epochs=2.0, warmup_steps=400, progressive=(0.25, 0.5, 0.75)
    )
    kept = {8: (0.25, 0.5, 0.75), 4: (0.25, 0.5, 0.75), 3: (0.5, 0.75), 1: ()}
    for epochs, sizes in kept.items():
        short = shortened(recipe, epochs)
        assert (short.epochs, short.progressive) == (epochs, sizes)
        assert (short.warmup_epochs, short.warmup_steps) == (epochs / 4, epochs * 50)


def test_seeds_repeat_each_point() -> None:
    plan = make_plan(Search(space=("width=16,32",), seeds=2), Recipe(seed=5))
    assert plan.points == [
        {"width": width, "seed": seed} for width in (16, 32) for seed in (5, 6)
    ]
    rows = make_plan(
        Search(preset="width-depth-cardinality", seeds=2),
        Recipe(**PRESETS["width-depth-cardinality"].recipe),
    )
    assert [row["seed"] for row in rows.points] == [0, 1] * 4
