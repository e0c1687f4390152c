"""The commands of docs/tutorial.md run in the order in which the page has them."""

import csv
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from data import write_image

from keras_resnet import command

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
# The title says what else a block needs.
BLOCK = re.compile(r'^```bash(?: title="Needs ([^"]+)")?\n(.+?)^```', re.M | re.S)
BLOCKS = BLOCK.findall(PAGE)
PYTHON = re.compile(r"^python -m (.+)$", re.M)
RUN = "".join(commands for needs, commands in BLOCKS if not needs).replace("\\\n", "")
LINES = [shlex.split(line) for line in PYTHON.findall(RUN)]
assert len(LINES) == len(RUN.splitlines()), "every line is one of Python's"
COLORS = {"cat": (200, 60, 60), "dog": (60, 200, 60), "horse": (60, 60, 200)}


def photograph(name: str, seed: int) -> np.ndarray:
    """Returns a noisy image in the colour of its class."""
    noise = np.random.default_rng(seed).integers(-50, 51, (90, 120, 3))
    return (noise + COLORS[name]).astype("uint8")


@pytest.mark.slow
def test_commands_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in COLORS:
        for i in range(16):
            write_image(tmp_path / "photos" / name / f"{i}.jpg", photograph(name, i))
        write_image(tmp_path / "holiday" / f"{name}.jpg", photograph(name, 99))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # which export.verify sets
    for module, *arguments in LINES:
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        command.run(import_module(module).main)
        printed = capsys.readouterr().out
    assert "labels.txt" in printed
    with (tmp_path / "holiday.csv").open(newline="") as file:
        found = {Path(row["file"]).stem: row["label"] for row in csv.DictReader(file)}
    assert found == {name: name for name in COLORS}


@pytest.mark.parametrize("module", sorted({module for module, *_ in LINES}))
def test_every_command_is_a_program(module: str) -> None:
    line = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: ")


@pytest.mark.parametrize(("needs", "commands"), [block for block in BLOCKS if block[0]])
def test_other_commands_are_not_run(needs: str, commands: str) -> None:
    subprocess.run(["bash", "-n"], input=commands, text=True, check=True)
    for file in re.findall(r"deploy/\S+", commands):
        assert (ROOT / file).is_file()
    pytest.skip(f"needs {needs}: {commands.strip()}")
