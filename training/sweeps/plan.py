"""Maps the points of a sweep's space to recipes within a budget."""

import math
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import islice
from typing import Any, Literal, cast

from keras_resnet.catalogue import find_spec
from keras_resnet.describe import Cost, network_cost
from keras_resnet.errors import UsageError
from training.data.types import Dataset, Size
from training.experiment.data import load_recipe_dataset
from training.experiment.infer_preprocessing import input_size
from training.recipes.recipe import Recipe, with_former_network
from training.sweeps.cost import OWN, Budget, nearest
from training.sweeps.points import at, named
from training.sweeps.space import SOLVED, Point, Space, points, size

WIDTHS = ("group_width", "width", "growth_rate")  # solved for by default
# Other spec fields that set a width and can be solved for.
OTHER_WIDTHS = ("cardinality", "bottleneck", "hidden", "deep", "maps")
LARGEST_GRID = 10_000  # points
COSTED = 1000  # points whose costs are checked before a search begins

Kind = Literal["params", "macs"]


@dataclass(frozen=True)
class Plan:
    """Maps points of a space to recipes, within a budget.

    Attributes:
        recipe: The recipe at the origin of the space.
        space: The fields that vary.
        budget: Limits on the cost of networks.
        rows: The only points to try; empty: all points of the space.
        former: Whether network names have the meaning they had in older versions.
    """

    recipe: Recipe
    space: Space
    budget: Budget = field(default_factory=Budget)
    rows: tuple[Point, ...] = ()
    former: bool = False

    def __post_init__(self) -> None:
        for name, values in self.space.items():
            if SOLVED not in values.grid:
                continue
            if name not in (*WIDTHS, *OTHER_WIDTHS):
                raise UsageError(
                    f"{SOLVED} must be the value of a field that sets a width, "
                    f"{', '.join((*WIDTHS, *OTHER_WIDTHS))}, got {name}={SOLVED}"
                )
            if self.budget.match is None:
                raise UsageError(
                    f"{name}={SOLVED} must come with a cost to match, got none; use "
                    "--match params NAME or list values"
                )

    @cached_property
    def points(self) -> list[Point]:
        """The points of a grid."""
        return list(self.rows or points(self.space))

    @cached_property
    def fields(self) -> list[str]:
        """The fields that vary, including those that are solved for."""
        models = self.space["model"].grid if "model" in self.space else ()
        solved = [self.solved({"model": m}) for m in models or (self.recipe.model,)]
        return list(dict.fromkeys([*self.space, *(n for n in solved if n)]))

    def count(self, tuner: str, trials: int | None) -> int | None:
        """Returns the expected number of trials; None: unknown for hyperband."""
        if tuner == "hyperband":
            return None
        most = size(self.space)
        if tuner == "grid":
            most = len(self.allowed)
        return int(min(most, trials or most))

    def solved(self, point: Point) -> str | None:
        """Returns the field that is solved for at a point; None: none is."""
        if self.budget.match is None:
            return None
        asked = [name for name, value in point.items() if value == SOLVED]
        if asked or any(SOLVED in values.grid for values in self.space.values()):
            return asked[0] if asked else None
        spec: Any = find_spec(point.get("model", self.recipe.model))
        known = [f.name for f in fields(spec)]
        free = [w for w in WIDTHS if w in known and w not in self.space]
        if not free:
            raise UsageError(
                f"--match must have a free width ({' or '.join(WIDTHS)}), got a space "
                f"of {', '.join(self.space)}; name the field to solve for with FIELD=?"
            )
        return free[0]

    @cached_property
    def target(self) -> float:
        """The cost that networks must match."""
        kind, network = cast(tuple[Kind, str], self.budget.match)
        factor, times, name = network.rpartition("*")
        if name == OWN:
            recipe = self._at(self.rows[0] if self.rows else {})
        else:
            recipe = self._named(replace(self.recipe, model=name, overrides=()))
        cost = getattr(self.cost(recipe), kind)
        return float(factor if times else 1) * int(cost)

    def recipe_at(self, point: Point) -> Recipe:
        """Returns the recipe at a point, with its solved field filled in.

        Raises:
            UsageError: The point is invalid.
        """
        name = self.solved(point)
        if name is None:
            return self._at(point)
        rest = {n: value for n, value in point.items() if n != name}
        kind = cast(tuple[Kind, str], self.budget.match)[0]

        def cost(value: int) -> int | None:
            try:
                made = self._at(rest | {name: value})
                return int(getattr(self.cost(made), kind))
            except UsageError:
                return None

        return self._at(rest | {name: nearest(cost, self.target, name)})

    def _at(self, point: Point) -> Recipe:
        return self._named(at(self.recipe, point))

    def _named(self, recipe: Recipe) -> Recipe:
        """The recipe with the network that its name stands for in this sweep."""
        if not self.former:
            return recipe
        return Recipe.from_dict(with_former_network(recipe.to_dict()))

    def cost(self, recipe: Recipe) -> Cost:
        """Returns the cost of a recipe's network on the sweep's images."""
        default: Size = find_spec(recipe.model).input_shape[:2]
        height, width = input_size(recipe.image_size, self.data, default)
        shape = (height, width, self.data.channels)
        spec = tuple(recipe.spec_fields.items())
        return network_cost(recipe.model, spec, shape, len(self.data.labels))

    @property
    def _costly(self) -> Space:
        """The part of the space that affects the cost."""
        free = {f.name for f in fields(Recipe)} - {"model", "image_size"}
        return {name: values for name, values in self.space.items() if name not in free}

    @cached_property
    def data(self) -> Dataset:
        """What all trials train and test on."""
        return load_recipe_dataset(self.recipe)

    def allows(self, point: Point) -> bool:
        """Returns whether a point is valid and within the budget."""
        if self.budget.open:
            return self._possible(point) is not None
        cost = self._cost_at(point)
        return cost is not None and self.budget.holds(cost)

    def _possible(self, point: Point) -> Recipe | None:
        try:
            return self.recipe_at(point)
        except UsageError:
            return None

    def _cost_at(self, point: Point) -> Cost | None:
        """Returns the cost of a point's network; None: the point is invalid."""
        recipe = self._possible(point)
        if recipe is None:
            return None
        try:
            return self.cost(recipe)
        except UsageError:  # some combinations fail only when the network is built
            return None

    @cached_property
    def allowed(self) -> list[Point]:
        """The points of a grid that are valid and within the budget."""
        return [point for point in self.points if self.allows(point)]

    def left_out(self) -> list[Point]:
        """Returns the points of a grid that are not allowed."""
        allowed = {id(point) for point in self.allowed}
        return [point for point in self.points if id(point) not in allowed]

    def require_grid(self) -> None:
        """Checks whether a grid has few enough points to try.

        Raises:
            UsageError: It has too many points.
        """
        count = math.prod(len(values.grid) for values in self.space.values())
        if not self.rows and count > LARGEST_GRID:
            raise UsageError(
                f"a grid must have at most {LARGEST_GRID:,} points, got {count:,}; "
                "choose fewer values or --tuner random"
            )

    def require_room(self) -> None:
        """Checks whether the space has a valid network within the budget.

        Raises:
            UsageError: It has none; the message gives the smallest cost.
        """
        costs, reason = {}, ""
        for point in self.rows or islice(points(self._costly), COSTED):
            try:
                cost = self.cost(self.recipe_at(point))
            except UsageError as error:
                reason = str(error)
                continue
            if self.budget.holds(cost):
                return
            costs[cost] = point
        if not costs:
            raise UsageError(
                f"space must have a network that can be built, got none: {reason}"
            )
        least = min(costs, key=lambda cost: (cost.params, cost.macs))
        known = self.rows or size(self._costly) <= COSTED
        where = "the space" if known else f"its first {COSTED:,} points"
        raise UsageError(
            f"budget must allow at least one network, got {self.budget}; raise it or "
            f"widen the space: the smallest network of {where} has {least.params:,} "
            f"parameters and {least.macs:,} multiply-accumulates "
            f"({named(costs[least]) or self.recipe.model})"
        )
