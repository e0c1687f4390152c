"""Makes the plan of a sweep from its options and checks that it can be carried out."""

import math
from dataclasses import fields
from itertools import islice
from typing import cast

from keras_resnet.errors import UsageError
from training.recipes.recipe import Recipe
from training.sweeps.cost import Budget
from training.sweeps.options import Search, find_preset
from training.sweeps.plan import Plan
from training.sweeps.points import format_point, require_possible
from training.sweeps.space import Choice, Point, points, read_space, size

MAX_GRID = 10_000  # points
MAX_COSTED = 1000  # points whose costs are checked before a search begins


def make_plan(search: Search, recipe: Recipe, *, former: bool = False) -> Plan:
    """Returns the plan of a sweep.

    Args:
        search: Options of the search.
        recipe: The recipe at the origin of the space.
        former: Whether an older version began the sweep, so that network names have
            their former meaning.

    Raises:
        UsageError: The space is invalid, or no network is within the budget.
    """
    rows: tuple[Point, ...] = ()
    space = read_space(search.space)
    match = cast("tuple[str, str] | None", search.match or None)
    if search.preset is not None:
        preset = find_preset(search.preset)
        space, rows = dict(preset.space), preset.points
        match = match or preset.match
    if search.seeds > 1:
        seeds = tuple(range(recipe.seed, recipe.seed + search.seeds))
        rows = tuple(row | {"seed": seed} for row in rows for seed in seeds)
        space["seed"] = Choice(seeds)
    require_possible(space, recipe)
    budget = Budget(search.max_params, search.max_macs, match)
    plan = Plan(recipe, space, budget, rows, former)
    if search.chosen_tuner == "grid":
        _require_small_grid(plan)
    _require_network(plan)
    return plan


def _require_small_grid(plan: Plan) -> None:
    count = math.prod(len(values.grid) for values in plan.space.values())
    if not plan.rows and count > MAX_GRID:
        raise UsageError(
            f"a grid must have at most {MAX_GRID:,} points, got {count:,}; "
            "choose fewer values or --tuner random"
        )


def _require_network(plan: Plan) -> None:
    """Checks whether the space has a valid network within the budget.

    Raises:
        UsageError: It has none; the message gives the smallest cost.
    """
    free = {f.name for f in fields(Recipe)} - {"model", "image_size"}
    costly = {name: v for name, v in plan.space.items() if name not in free}
    costs, reason = {}, ""
    for point in plan.rows or islice(points(costly), MAX_COSTED):
        try:
            cost = plan.cost(plan.recipe_at(point))
        except UsageError as error:
            reason = str(error)
            continue
        if plan.budget.holds(cost):
            return
        costs[cost] = point
    if not costs:
        raise UsageError(
            f"space must have a network that can be built, got none: {reason}"
        )
    least = min(costs, key=lambda cost: (cost.params, cost.macs))
    complete = plan.rows or size(costly) <= MAX_COSTED
    where = "the space" if complete else f"its first {MAX_COSTED:,} points"
    raise UsageError(
        f"budget must allow at least one network, got {plan.budget}; raise it or "
        f"widen the space: the smallest network of {where} has {least.params:,} "
        f"parameters and {least.macs:,} multiply-accumulates "
        f"({format_point(costs[least]) or plan.recipe.model})"
    )
