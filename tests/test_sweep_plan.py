"""Networks of equal cost: the papers' numbers, and budgets."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import keras
import pytest

from keras_resnet.catalogue import MODELS, find_spec
from keras_resnet.describe import Cost, count_macs, count_params, network_cost
from keras_resnet.errors import UsageError
from keras_resnet.models import create_model
from training.recipes.recipe import Recipe
from training.sweeps.cost import Budget, nearest
from training.sweeps.options import Search
from training.sweeps.planning import make_plan
from training.sweeps.presets import PRESETS
from training.sweeps.space import KEPT
from training.sweeps.trials import shorten

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
    assert abs(nearest(params, target, "group_width") - width) <= 1
    assert params(width) == pytest.approx(target, rel=0.03)


def test_the_nearest_whole_number_is_found() -> None:
    assert nearest(lambda n: n * n, 50, "width") == 7
    assert nearest(lambda n: n * n, 0.8, "width") == 1
    assert nearest(lambda n: None if n < 5 else n, 4.8, "width") == 5
    for target in range(1, 300):
        assert nearest(lambda n: 3 * n, 3 * target + 1, "width") == target


@pytest.mark.parametrize(
    ("cost", "target", "message"),
    [
        (lambda n: n, 16385, "got 16,385; the largest, width=16384, costs 16,384"),
        (lambda n: n, 1e300, r"got 1e\+300; the largest, width=16384, costs 16,384"),
        (lambda n: n * n, 0.2, "got 0.2; the smallest, width=1, costs 1"),
        (lambda n: None if n < 5 else n, 2, "got 2; the smallest, width=5, costs 5"),
        (lambda n: None, 2, "the largest, width=16384, is not a valid network"),
    ],
)
def test_a_cost_out_of_reach_is_refused(
    cost: Callable[[int], int | None], target: float, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        nearest(cost, target, "width")


SMALLEST = {  # of each family, and an override that changes its cost
    "lenet5": {"connections": ((0, 1), (2, 3))},
    "vgg11_bn": {"hidden": 64},
    "alexnet": {"hidden": 64},
    "googlenet": {"widths": (8, 8, 16)},
    "highway20_cifar": {"width": 4},
    "plain20_cifar": {"width": 24},
    "resnet20_cifar": {"shortcut": "C", "survival": 0.5},
    "resnet110_v2_cifar": {"depths": (1, 1, 1), "skip": "exclusive_gating"},
    "resnext29_8x64d_cifar": {"group_width": 4, "form": "B"},
    "densenet40_k12_cifar": {"depths": (2, 2, 2), "memory_efficient": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_costs_are_those_of_the_real_network(name: str) -> None:
    spec, shape = SMALLEST[name], find_spec(name).input_shape
    network = create_model(name, input_shape=shape, classes=7, **spec)
    real = Cost(count_params(network), count_macs(network))
    assert network_cost(name, tuple(spec.items()), shape, 7) == real


def test_every_family_has_its_costs_compared() -> None:
    assert {type(spec) for spec in MODELS.values()} == {
        type(MODELS[name]) for name in SMALLEST
    }


def test_a_network_too_large_for_any_machine_has_a_cost() -> None:
    # Its weights would take a terabyte. By hand: 6 convolutions from w to w channels,
    # one from w to 2w and 5 from 2w to 2w, one from 2w to 4w and 5 from 4w to 4w.
    width = 2**14
    cost = network_cost("resnet20_cifar", (("width", width),), (32, 32, 3), 10)
    convolutions = 9 * width**2 * (6 * 1 + (2 + 5 * 4) + (8 + 5 * 16))
    assert cost.params == pytest.approx(convolutions, rel=0.01)
    # A failure must not leave variables behind that something else would allocate.
    with pytest.raises(UsageError, match="shortcut 'A' can only add channels"):
        network_cost("resnet20_cifar", (("width", 15),), (32, 32, 3), 10)
    assert not keras.src.backend.common.global_state.get_global_attribute(
        "uninitialized_variables"
    )


def test_paths_of_a_resnext_are_counted_without_being_built() -> None:
    fields = (("cardinality", 2**14), ("depths", (1, 1, 1)))
    costs = [
        network_cost("resnext29_8x64d_cifar", (*fields, *form), (32, 32, 3), 10)
        for form in ((), (("form", "B"),))
    ]
    assert costs[0] == costs[1]


@pytest.mark.slow
@pytest.mark.parametrize("factor", ["1e9", "1e-9"])
def test_a_match_that_no_width_reaches_is_refused(factor: str) -> None:
    search = Search(space=("survival=0.5,1.0",), match=("params", f"{factor}*self"))
    extreme = "largest, width=16384" if factor == "1e9" else "smallest, width=16"
    with pytest.raises(UsageError, match=f"{extreme}, costs [0-9,]+$"):
        make_plan(search, Recipe(overrides=("depths=(1,1,1)",)))


@pytest.mark.parametrize("name", ["learning_rate", "seed", "depths", "survival"])
def test_only_widths_are_solved_for(name: str) -> None:
    search = Search(space=(f"{name}=?",), match=("params", "self"))
    with pytest.raises(UsageError, match=f"a field that sets a width.* got {name}="):
        make_plan(search, Recipe())


def test_a_grid_of_too_many_points_is_refused() -> None:
    space = tuple(f"{n}=0.1..0.9" for n in ("momentum", "erasing", "mixup", "cutmix"))
    make_plan(Search(space=space, tuner="grid"), Recipe())
    more = Search(space=(*space, "width=16,32"), tuner="grid")
    with pytest.raises(UsageError, match="at most 10,000 points, got 20,000; choose"):
        make_plan(more, Recipe())
    with pytest.raises(UsageError, match="seeds must be between 1 and 10000"):
        Search(seeds=10**9)


def test_lists_in_a_space_are_as_good_as_tuples() -> None:
    search = Search(space=("depths=[1,1,1],(2,2,2)",), max_params=10**6)
    plan = make_plan(search, Recipe(overrides=("depths=[1,1,1]",)))
    assert plan.points == [{"depths": (1, 1, 1)}, {"depths": (2, 2, 2)}]
    assert plan.count("grid", None) == 2
    assert len({plan.cost(plan.recipe_at(point)) for point in plan.points}) == 2


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
        (("params", "-2*self"), r"FACTOR\*NETWORK with FACTOR above 0, got '-2"),
    ],
)
def test_other_matches_are_refused(match: tuple[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Budget(match=match)


def test_a_match_needs_a_width() -> None:
    search = Search(
        space=("group_width=4", "width=8,16"), match=("params", "resnet20_cifar")
    )
    with pytest.raises(UsageError, match="--match must have a free width"):
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
    assert plan.excluded() == [{"width": 4}]
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


@pytest.mark.slow
def test_asking_for_a_cost_keeps_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[keras.Model]] = []

    def remembered(*arguments: Any, **options: Any) -> keras.Model:
        network = create_model(*arguments, **options)
        made.append(weakref.ref(network))
        return network

    monkeypatch.setattr("keras_resnet.describe.build_model", remembered)
    network_cost("resnet20_cifar", (("width", 17),), (8, 8, 1), 10)
    gc.collect()
    assert [network() for network in made] == [None]


def test_an_impossible_budget_says_the_smallest_possible() -> None:
    search = Search(space=("cardinality=1,8", "learning_rate=0.1,0.2"), max_params=10)
    least = make_plan(Search(space=("cardinality=1",)), TINY)
    params = least.cost(least.recipe_at({"cardinality": 1})).params
    with pytest.raises(
        UsageError,
        match=rf"smallest network of the space has {params:,} parameters .*"
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
        short = shorten(recipe, epochs)
        assert (short.epochs, short.progressive) == (epochs, sizes)
        assert (short.warmup_epochs, short.warmup_steps) == (epochs / 4, epochs * 50)


@pytest.mark.slow
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
