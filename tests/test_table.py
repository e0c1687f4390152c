"""docs/architectures.md is what the networks say of themselves."""

import sys
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


def test_rows_of_some_networks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["architectures", *QUICK])
    command.run(main)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("`")[1] for line in lines] == list(QUICK)
    assert set(lines) <= set(PAGE.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(
    ("name", "said"), [("resnet20", "did you mean"), ("resnet18_new", "source")]
)
def test_a_network_without_a_row_is_refused(
    name: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(MODELS, "resnet18_new", MODELS["resnet18"])
    monkeypatch.setattr(sys, "argv", ["architectures", name])
    with pytest.raises(SystemExit) as stop:
        command.run(main)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and said in error
