"""Maps the points of a sweep's space to recipes within a budget."""

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, cast

from keras_resnet.catalogue import find_spec
from keras_resnet.describe import Cost, network_cost
from keras_resnet.errors import UsageError
from training.data.types import Dataset, Size
from training.experiment.data import load_recipe_dataset
from training.experiment.infer_preprocessing import input_size
from training.recipes.recipe import Recipe, with_former_network
from training.sweeps.cost import OWN, Budget, nearest
from training.sweeps.points import apply_point
from training.sweeps.space import SOLVED, Point, Space, points, size

WIDTHS = ("group_width", "width", "growth_rate")  # solved for by default
# Other spec fields that set a width and can be solved for.
OTHER_WIDTHS = ("cardinality", "bottleneck", "hidden", "deep", "maps")

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
        marked = [name for name, value in point.items() if value == SOLVED]
        if marked or any(SOLVED in values.grid for values in self.space.values()):
            return marked[0] if marked else None
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
            recipe = self._resolve(replace(self.recipe, model=name, overrides=()))
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
                recipe = self._at(rest | {name: value})
                return int(getattr(self.cost(recipe), kind))
            except UsageError:
                return None

        return self._at(rest | {name: nearest(cost, self.target, name)})

    def _at(self, point: Point) -> Recipe:
        return self._resolve(apply_point(self.recipe, point))

    def _resolve(self, recipe: Recipe) -> Recipe:
        """Returns the recipe with the network that its name denotes in this sweep."""
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

    @cached_property
    def data(self) -> Dataset:
        """What all trials train and test on."""
        return load_recipe_dataset(self.recipe)

    def allows(self, point: Point) -> bool:
        """Returns whether a point is valid and within the budget."""
        try:
            recipe = self.recipe_at(point)
            return self.budget.open or self.budget.holds(self.cost(recipe))
        except UsageError:  # some combinations fail only when the network is built
            return False

    @cached_property
    def allowed(self) -> list[Point]:
        """The points of a grid that are valid and within the budget."""
        return [point for point in self.points if self.allows(point)]

    def excluded(self) -> list[Point]:
        """Returns the points of a grid that are not allowed."""
        allowed = {id(point) for point in self.allowed}
        return [point for point in self.points if id(point) not in allowed]
