"""Workers on a local Ray cluster: they train as one, and start again."""

import os
import signal
from pathlib import Path

import pytest
from launched import LONG, TINY, curves, start, wait_for_checkpoint

from training.runs import Run

pytestmark = pytest.mark.slow
pytest.importorskip("ray", reason="needs keras-resnet[ray]")

RAY = ["--ray", "local", "--workers", "2"]


def workers_of(cluster: int) -> list[int]:
    """Processes under that one which train: their title is Ray's of a train worker."""
    found, left = [], [cluster]
    while left:
        parent = left.pop()
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            left += [int(number) for number in task.read_text().split()]
        title = Path(f"/proc/{parent}/cmdline").read_bytes()
        found += [parent] * title.startswith(b"ray::RayTrainWorker")
    return found


def test_two_workers_on_ray_give_the_numbers_of_two_local_ones(tmp_path: Path) -> None:
    for name, launched in {"local": RAY[2:], "ray": RAY}.items():
        process = start(tmp_path / name, *TINY, *launched)
        _, stderr = process.communicate(timeout=400)
        assert process.returncode == 0, stderr
    assert curves(tmp_path / "ray") == curves(tmp_path / "local")


def test_ray_starts_the_job_again_when_a_worker_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path, *LONG, *RAY, "--max-restarts", "1")
    wait_for_checkpoint(tmp_path)
    os.kill(workers_of(process.pid)[1], signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=400)
    assert process.returncode == 0, stderr
    assert "resuming at epoch" in stdout + stderr and Run(tmp_path).complete


def test_ray_ends_in_one_line_when_no_restart_is_left(tmp_path: Path) -> None:
    process = start(tmp_path, *LONG, *RAY)
    wait_for_checkpoint(tmp_path)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    _, stderr = process.communicate(timeout=400)
    assert process.returncode == 1
    assert stderr.splitlines()[-1].startswith(
        "error: Ray's workers must stay to the end"
    )
