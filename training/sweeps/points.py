"""Applies the points of a space to a recipe, and validates spaces."""

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

from keras_resnet.catalogue import find_spec
from keras_resnet.errors import UsageError, suggest
from training.recipes.recipe import Recipe
from training.sweeps.space import KEPT, SOLVED, Point, Space

# Fields that are the same for all trials.
FIXED = ("dataset", "overrides", "validation", "skip_bad_images")


def apply_point(recipe: Recipe, point: Point) -> Recipe:
    """Returns the recipe at a point: recipe fields are replaced, others overridden.

    Raises:
        UsageError: A value is invalid.
    """
    known = {field.name for field in fields(Recipe)}
    moved = {name: value for name, value in point.items() if value != KEPT}
    changes = {name: value for name, value in moved.items() if name in known}
    spec = [f"{name}={value}" for name, value in moved.items() if name not in known]
    kept = [o for o in recipe.overrides if o.partition("=")[0] not in moved]
    made = replace(recipe, **changes, overrides=(*kept, *spec))
    find_spec(made.model, **made.spec_fields)
    return made


def require_possible(space: Space, recipe: Recipe) -> None:
    """Checks whether every value of every field is valid.

    Raises:
        UsageError: The space is empty, or a field or a value is invalid.
    """
    if not space:
        raise UsageError(
            "space must have at least one field, got none; use --space "
            "cardinality=1,2,4 or --preset NAME"
        )
    models = space["model"].grid if "model" in space else (recipe.model,)
    for name, values in space.items():
        _require_field(name, models)
        for value in values.grid:
            if value not in (SOLVED, KEPT):
                apply_point(recipe, {"model": models[0], name: value})


def _require_field(field: str, models: Iterable[str]) -> None:
    if field in FIXED:
        option = field.replace("_", "-")
        raise UsageError(
            "space must have only fields that can differ between trials, got "
            f"{field!r}, which is the same for all; use --{option}"
        )
    variable = [f.name for f in fields(Recipe) if f.name not in FIXED]
    if field in variable:
        return
    for model in models:
        spec: Any = find_spec(model)
        known = [f.name for f in fields(spec)]
        if field not in known:
            hint = suggest(field, [*known, *variable])
            raise UsageError(
                f"space has no field {field!r}; {hint}use a field of {model} "
                f"({', '.join(known)}) or of the recipe (the options of training.fit)"
            )


def format_point(point: Point) -> str:
    """Formats a point as text."""
    return ", ".join(f"{name}={value}" for name, value in point.items())
