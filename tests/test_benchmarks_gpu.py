"""The benchmark for a GPU: what it skips, what it keeps, and what it writes."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from training.runs.run import Run

ROOT = Path(__file__).parent.parent
STEP = {"network": "resnet50", "precision": "bfloat16", "kind": "ours", "batch": 8}
FOUND = {"steps": [STEP | {"best": 600.0, "median": 500.0, "memory_mib": 2048.0}]}
PRINTS = f"print('{json.dumps(FOUND)}', flush=True)"
HANGS = f"{PRINTS}; import time; time.sleep(600)"
FAILS = f"{PRINTS}; raise SystemExit('no memory | left')"
STOPS = "import os, time; os.kill(os.getppid(), 15); time.sleep(600)"
Measure = Callable[..., list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    """Runs rows of (name, Python code, limit) and returns what was written last."""
    from rows import Row, run_rows

    def run(*rows: tuple[str, str, float], seconds: float = 600, skip: str = "") -> Any:
        made = [
            Row(name, (sys.executable, "-c", code), limit, json.loads, skip)
            for name, code, limit in rows
        ]
        written: list[Any] = []
        try:
            run_rows(made, time.monotonic() + seconds, tmp_path, written.append)
        except SystemExit as stop:
            assert stop.code == 143
        return written[-1]

    return run


def test_a_row_that_fails_or_hangs_costs_only_itself(measure: Measure) -> None:
    failed, hung, done = measure(
        ("fails", FAILS, 60), ("hangs", HANGS, 1), ("works", PRINTS, 60)
    )
    assert failed["status"] == "failed with exit code 1"
    assert failed["error"] == "no memory | left\n"
    assert (hung["status"], done["status"]) == ("stopped after 1 s", "done")
    # What was printed before the end is kept.
    assert failed["steps"] == hung["steps"] == done["steps"] == FOUND["steps"]


def test_what_does_not_fit_is_skipped(measure: Measure) -> None:
    long, short = measure(("long", PRINTS, 1000), ("short", PRINTS, 200), seconds=400)
    assert long["status"].endswith("s left, fewer than half of 1000")
    assert "steps" not in long and short["status"] == "done"
    (row,) = measure(("row", PRINTS, 60), skip="no data")
    assert row["status"] == "skipped: no data"


def test_sigterm_keeps_what_was_measured(measure: Measure) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    first, second, third = measure(
        ("works", PRINTS, 60), ("stops", STOPS, 60), ("never", PRINTS, 60)
    )
    assert first["steps"] == FOUND["steps"]
    assert (second["status"], third["status"]) == ("stopped", "skipped: stopped")


def test_results_are_written(tmp_path: Path) -> None:
    from gpu import _write, read_run

    peer = STEP | {"kind": "eager", "best": 250.0, "median": 250.0, "memory_mib": 1.0}
    run = Run(tmp_path)
    run.history.write_text(
        "epoch,images_per_second,waiting,memory_gib,val_top1\n"
        "0,10.0,0.5,1.0,0.3\n1,300.0,0.1,2.0,0.6\n2,200.0,0.2,2.0,0.9\n"
    )
    outcomes: list[dict[str, Any]] = [
        {"steps": [*FOUND["steps"], peer], "failures": {"x": "a | b"}},
        read_run(run, skipped=1),
    ]
    assert outcomes[1]["fit"]["median"] == 250
    assert "median" not in read_run(run, skipped=3)["fit"]
    names = ("steps", "training.fit resnet50")
    outcomes = [
        {"name": name, "command": "python", "status": "done", "seconds": 7.0} | figures
        for name, figures in zip(names, outcomes, strict=True)
    ]
    facts = {"machine": "a GPU", "rehearsal": True}
    _write(tmp_path, facts, outcomes)
    values = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert values == facts | {"measurements": outcomes}
    rows = (tmp_path / "results.md").read_text("utf-8").splitlines()
    assert (
        "| resnet50 | bfloat16 | 8 | 500.0 (600.0) | 250.0 (250.0) | – | 2.00× | – | "
        "2,048 | 1 | – |"
    ) in rows
    assert "| resnet50 | 250.0 (300.0) | 0.50× | 20% | 2,048 | 3 | 90.00% | 7 |" in rows
    assert "| steps | done; x failed: a \\| b | 7 | `python` |" in rows


@pytest.mark.parametrize("rehearse", [False, True])
def test_the_commands_of_all_rows_are_valid(rehearse: bool, tmp_path: Path) -> None:
    from gpu import Options, make_rows
    from gpu_steps import NETWORKS
    from gpu_steps import Options as StepsOptions

    from keras_resnet import command
    from training.fit import read_options

    rows = make_rows(Options(tmp_path, rehearse=rehearse), tmp_path)
    assert [bool(row.skip) for row in rows].count(True) == 1  # without Fashion-MNIST
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        if row.command[1:3] == ("-m", "training.fit"):
            assert read_options(list(row.command[3:])).out
        else:
            options = command.parse(StepsOptions, row.command[2:])
            assert set(options.networks) <= NETWORKS.keys()
