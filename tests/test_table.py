"""docs/architectures.md is what the networks say of themselves."""

from pathlib import Path

import pytest
from generate.architectures import HEAD, NOTES, SOURCES, row

from keras_resnet.catalogue import MODELS

QUICK = ("lenet5", "resnet20_cifar")
PAGE = Path(__file__).parents[1] / "docs" / "architectures.md"


def test_every_network_has_a_source() -> None:
    assert set(SOURCES) == set(MODELS)


def test_page_has_every_network_in_order() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    names = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert names == list(MODELS)
    assert "\n".join(lines).startswith(HEAD)
    assert "\n".join(lines).endswith(NOTES.strip())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            n, marks=() if n in ("lenet5", "resnet20_cifar") else pytest.mark.slow
        )
        for n in (*QUICK, "resnet50", "googlenet", "densenet121", "highway56_cifar")
    ],
)
def test_row_is_up_to_date(name: str) -> None:
    assert row(name) in PAGE.read_text(encoding="utf-8").splitlines()
