"""The commands of docs/tutorial.md run in the order in which the page has them."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data import write_image

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
# The title says what else a block needs.
BLOCK = re.compile(r'^```bash(?: title="Needs ([^"]+)")?\n(.+?)^```', re.M | re.S)
BLOCKS = BLOCK.findall(PAGE)
COLORS = {"cat": (200, 60, 60), "dog": (60, 200, 60), "horse": (60, 60, 200)}


def photograph(name: str, seed: int) -> np.ndarray:
    """Returns a noisy image in the colour of its class."""
    noise = np.random.default_rng(seed).integers(-50, 51, (90, 120, 3))
    return (noise + COLORS[name]).astype("uint8")


@pytest.mark.slow
def test_commands_run_in_order(tmp_path: Path) -> None:
    for name in COLORS:
        for i in range(16):
            write_image(tmp_path / "photos" / name / f"{i}.jpg", photograph(name, i))
        write_image(tmp_path / "holiday" / f"{name}.jpg", photograph(name, 99))
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    script = "".join(commands for needs, commands in BLOCKS if not needs)
    done = subprocess.run(
        ["bash", "-euxc", script],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "labels.txt" in done.stdout  # of the last command
    with (tmp_path / "holiday.csv").open(newline="") as file:
        found = {Path(row["file"]).stem: row["label"] for row in csv.DictReader(file)}
    assert found == {name: name for name in COLORS}


@pytest.mark.parametrize(("needs", "commands"), [block for block in BLOCKS if block[0]])
def test_other_commands_are_not_run(needs: str, commands: str) -> None:
    subprocess.run(["bash", "-n"], input=commands, text=True, check=True)
    for file in re.findall(r"deploy/\S+", commands):
        assert (ROOT / file).is_file()
    pytest.skip(f"needs {needs}: {commands.strip()}")
