"""The table of recipes in the documentation, and its figure."""

from pathlib import Path

import pytest
from generate import recipes as published

from training.recipes.catalogue import RECIPES

DOCS = Path(__file__).parents[1] / "docs"


def test_every_recipe_has_a_source() -> None:
    assert list(published.PUBLISHED) == list(RECIPES)
    assert all(row.source for row in published.PUBLISHED.values())


def test_documentation_has_the_table() -> None:
    assert published.table() in (DOCS / "recipes.md").read_text("utf-8")


def test_stochastic_depth_is_trained_as_published() -> None:
    """Huang et al., 2016, section 4."""
    for name, epochs, drops in (
        ("stochastic_depth_cifar", 500, [250, 375]),
        ("stochastic_depth1202_cifar", 300, [150, 225]),
    ):
        recipe = RECIPES[name]
        assert recipe.epochs == epochs
        assert [share * epochs for share in recipe.milestones] == drops


def test_cost_is_counted() -> None:
    rows = dict(
        (line.split("`")[1], line.split("|")[-2].strip())
        for line in published.table().splitlines()[2:]
    )
    # 3 · 3.86·10⁹ · 90 · 1,281,167 = 1,334.7·10¹⁵
    assert rows["resnet_imagenet"] == "1,335"
    # 3 · 40.6·10⁶ · 164 · 50,000 = 0.999·10¹⁵, in one digit because it is below 10
    assert rows["resnet_cifar"] == "1"


@pytest.mark.slow
def test_figure_is_drawn(tmp_path: Path) -> None:
    published.draw(tmp_path / "rates.svg")
    text = (tmp_path / "rates.svg").read_text("utf-8")
    assert text.startswith("<?xml") and len(text) > 10_000
