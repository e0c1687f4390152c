"""Defines comparisons from the papers as search spaces."""

from dataclasses import dataclass, field
from typing import Any

from training.sweeps.space import KEPT, SOLVED, Choice, Point, Space


@dataclass(frozen=True)
class Preset:
    """A comparison from a paper.

    Attributes:
        source: The paper's table or figure, and what it compares.
        space: Fields and their values.
        points: The only combinations to try; empty: all.
        recipe: Fields of the recipe at the origin.
        match: As in ``Budget``.
    """

    source: str
    space: Space
    points: tuple[Point, ...] = ()
    recipe: dict[str, Any] = field(default_factory=dict)
    match: tuple[str, str] | None = None


def _points(*rows: Point) -> dict[str, Any]:
    """Returns the space and the points of rows with the same fields."""
    values = {name: [row[name] for row in rows] for name in rows[0]}
    space = {name: Choice(tuple(dict.fromkeys(v))) for name, v in values.items()}
    return {"space": space, "points": rows}


def _networks(*names: str) -> Space:
    return {"model": Choice(names)}


CIFAR_DEPTHS = (20, 32, 44, 56)

PRESETS = {
    "cardinality": Preset(
        "Xie et al., 2017, tables 2 and 3: more groups, each narrower, at equal cost",
        {"cardinality": Choice((1, 2, 4, 8, 16, 32))},
        recipe={"model": "resnext29_8x64d_cifar"},
        match=("params", "self"),
    ),
    "depth": Preset(
        "He et al., CVPR 2016, table 6: deeper residual networks",
        _networks(*(f"resnet{depth}_cifar" for depth in (*CIFAR_DEPTHS, 110))),
    ),
    "degradation": Preset(
        "He et al., CVPR 2016, figure 6: deeper plain and residual networks",
        _networks(
            *(f"{kind}{d}_cifar" for d in CIFAR_DEPTHS for kind in ("plain", "resnet"))
        ),
    ),
    # The first row has one group of the recipe's width; the others have twice its cost.
    "width-depth-cardinality": Preset(
        "Xie et al., 2017, table 4: twice the cost as depth, as width, as cardinality",
        **_points(
            {"depths": (3, 3, 3), "cardinality": 1, "group_width": KEPT},
            {"depths": (7, 6, 6), "cardinality": 1, "group_width": KEPT},
            {"depths": (3, 3, 3), "cardinality": 1, "group_width": SOLVED},
            {"depths": (3, 3, 3), "cardinality": SOLVED, "group_width": KEPT},
        ),
        recipe={"model": "resnext29_8x64d_cifar"},
        match=("macs", "2*self"),
    ),
    "growth-rate": Preset(
        "Huang et al., CVPR 2017, table 2: wider layers of a DenseNet",
        {"growth_rate": Choice((6, 12, 18, 24))},
        recipe={"model": "densenet40_k12_cifar"},
    ),
    "survival": Preset(
        "Huang et al., ECCV 2016, figure 8: survival probability of the last unit",
        {"survival": Choice((0.2, 0.4, 0.6, 0.8, 1.0))},
        recipe={"model": "resnet110_sd_cifar"},
    ),
}
