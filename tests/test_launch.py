"""Local workers: they train as one, end together, and start again."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from data import write_classes
from exported import SharedFolders
from launched import curves, two_local_workers
from replicated import RECIPE
from test_findings import swap

from keras_resnet import command, load_model
from training import fit
from training.distributed import launch
from training.experiment.train import train
from training.recipes.recipe import Recipe
from training.runs.run import Run


@pytest.mark.slow
def test_three_workers_give_the_numbers_of_one_process(tmp_path: Path) -> None:
    """After they have refused data that differs, and with the same weights on all."""
    one, three = Run(tmp_path / "one"), Run(tmp_path / "three" / "1")
    averaged = {"ema": 0.9}
    train(Recipe.from_dict(RECIPE | averaged), one)
    recipes = [{"dataset": "folder:photos"}, averaged]
    line = [sys.executable, str(Path(__file__).with_name("replicated.py")), "1"]
    line += [str(three.path.parent), *map(json.dumps, recipes)]
    hosts = [f"127.0.0.1:{port}" for port in launch.free_ports(3)]
    workers = []
    for index in range(3):
        folder = tmp_path / str(index)
        write_classes(folder / "photos", "ab", count=6)
        if index == 1:
            swap(folder / "photos" / "a" / "0.png", folder / "photos" / "b" / "0.png")
        workers.append(
            subprocess.Popen(
                line,
                cwd=folder,
                env=os.environ | launch._environment(hosts, index),
                text=True,
                stdout=subprocess.PIPE,
            )
        )
    said = [worker.communicate(timeout=400)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    found = [[json.loads(x) for x in text.splitlines() if x[0] == "{"] for text in said]
    for refused, trained in found:
        assert refused["refused"].startswith(
            "all workers must have the same data, got different "
        )
        assert " on worker 1 than on worker 0" in refused["refused"]
        assert trained["equal"] and trained["digest"] == found[0][1]["digest"]
    assert [path.name for path in three.path.parent.iterdir()] == ["1"]
    np.testing.assert_allclose(curves(one.path), curves(three.path), atol=1e-4)
    assert three.evaluated["examples"] == one.evaluated["examples"]
    confusion = [
        json.loads(run.assessment.read_text())["confusion"] for run in (one, three)
    ]
    assert confusion[0] == confusion[1]
    for ours, theirs in zip(
        *(load_model(run.model).get_weights() for run in (one, three)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.slow
def test_workers_stop_together_go_on_and_start_again(shared: SharedFolders) -> None:
    assert Run(two_local_workers(shared)).complete


def test_a_killed_worker_ends_the_job_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    left = [
        "import signal; signal.pause()",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    ]
    real = launch.start_process

    def start(line: list[str], **options: Any) -> Any:
        return real([sys.executable, "-c", left.pop(0)], **options)

    monkeypatch.setattr(launch, "start_process", start)
    out = str(tmp_path / "run")
    monkeypatch.setattr(sys, "argv", ["fit", "--out", out, "--workers", "2"])
    with pytest.raises(SystemExit, match=r"^1$"):
        command.run(fit.main)
    said = capsys.readouterr().err
    assert said.startswith("error: worker 1 of 2 died of SIGKILL, and the others were")
    assert said.endswith("continue with --resume\n") and said.count("\n") == 1


class Clock:
    """Takes the place of ``time``; only ``sleep`` moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Worker:
    """Takes the place of a process that ends at a time, with a code and a line."""

    def __init__(self, clock: Clock, ends: float, code: int, line: str = "") -> None:
        self.clock, self.ends, self.code, self.line = clock, ends, code, line
        self.killed = False

    def poll(self) -> int | None:
        return self.code if self.clock.now >= self.ends else None

    def kill(self) -> None:
        self.killed = True

    def wait(self) -> None:
        assert self.killed


NO_MEMORY = (1, "error: no memory")
FAILED = "worker 1 of 2 failed with exit code 1 (error: no memory)"


@pytest.mark.parametrize(
    ("ends", "died", "seconds"),
    [
        (((3, launch.LOST), (1, *NO_MEMORY)), FAILED, 3),
        (((1, launch.LOST), (3, *NO_MEMORY)), FAILED, 3),
        (((3, 1), (1, 1)), SystemExit, 3),
        (((1, 0), (2, 0)), None, 2),
        # The others of one that was killed are not waited for, however long they take.
        (((math.inf, 0), (1, -signal.SIGKILL)), "worker 1 of 2 died of SIGKILL", 1),
        (((math.inf, 0), (1, *NO_MEMORY)), FAILED, 1 + launch.GRACE),
    ],
)
def test_the_worker_that_ended_by_itself_is_reported(
    ends: tuple[tuple[Any, ...], ...],
    died: object,
    seconds: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    workers = [Worker(clock, *end) for end in ends]
    left = list(workers)

    def start(line: list[str], *, output: IO[bytes] | None, **_: Any) -> Worker:
        worker = left.pop(0)
        if output is not None:
            output.write(worker.line.encode())
        return worker

    monkeypatch.setattr(launch, "time", clock)
    monkeypatch.setattr(launch, "start_process", start)
    if died is SystemExit:
        with pytest.raises(SystemExit, match=r"^1$"):
            launch.Workers(2).train([])
    else:
        assert launch.Workers(2).train([]) == died
    assert clock.now == pytest.approx(seconds, abs=0.1)
    assert all(worker.killed for worker in workers)


@pytest.mark.parametrize(
    "said",
    [
        ["--max-restarts", "3"],
        ["--max_restarts", "3"],
        ["--max_restarts=3", "--resume"],
        ["--workers=2"],
        ["--no-resume", "--workers", "2"],
    ],
    ids=" ".join,
)
def test_workers_start_no_workers(
    said: list[str], run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if "--resume" in said:
        (tmp_path / "config.json").write_text(json.dumps(run.config))
    started: list[tuple[list[str], Any]] = []

    def start(line: list[str], *, environment: Any, **_: Any) -> Any:
        started.append((line, environment))
        return real([sys.executable, "-c", ""], environment=environment)

    real, trained = launch.start_process, []
    monkeypatch.setattr(launch, "start_process", start)
    monkeypatch.setattr(fit, "train_here", trained.append)
    monkeypatch.setattr(sys, "argv", ["fit", "--out", str(tmp_path), *said])
    fit.main()
    for line, environment in list(started):
        monkeypatch.setattr(sys, "argv", line[2:])
        monkeypatch.setattr(os, "environ", environment)
        fit.main()
    assert len(trained) == len(started) == (2 if "2" in said[-1] else 1)
    assert {options.resume for options in trained} == {"--resume" in said}


@pytest.mark.parametrize(
    ("visible", "workers", "each"),
    [
        ("0,1,2,3", 2, ["0,2", "1,3"]),
        ("4,5", 2, ["4", "5"]),
        ("0", 2, [None, None]),
        ("0,1", 1, ["0,1"]),
        ("", 2, [None, None]),  # none is to be used
    ],
)
def test_workers_share_the_gpus(
    visible: str,
    workers: int,
    each: list[str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    hosts = [f"127.0.0.1:{i}" for i in range(workers)]
    found = [launch._environment(hosts, index) for index in range(workers)]
    assert [place.get("CUDA_VISIBLE_DEVICES") for place in found] == each
    if workers > 1:
        places = [json.loads(place["TF_CONFIG"])["task"]["index"] for place in found]
        assert places == list(range(workers))
