"""docs/architectures.md is what the networks say of themselves."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from generate.architectures import HEAD, NOTES, SOURCES, main, row

from keras_resnet import command
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


@pytest.mark.parametrize(
    ("names", "status"), [(QUICK, None), (["resnet20"], 2), (["resnet18_new"], 2)]
)
def test_rows_of_some_networks(
    names: Sequence[str],
    status: int | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(MODELS, "resnet18_new", MODELS["resnet18"])  # without a source
    monkeypatch.setattr(sys, "argv", ["architectures", *names])
    if status is None:
        command.run(main)
        lines = capsys.readouterr().out.splitlines()
        assert [line.split("`")[1] for line in lines] == list(names)
        assert set(lines) <= set(PAGE.read_text(encoding="utf-8").splitlines())
        return
    with pytest.raises(SystemExit) as stop:
        command.run(main)
    said = capsys.readouterr().err
    assert stop.value.code == status and said.count("\n") == 1
