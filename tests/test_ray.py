"""Workers on a local Ray cluster: they train as one, and start again."""

from pathlib import Path

import psutil
import pytest
from exported import SharedFolders
from launched import LONG, curves, start, two_local_workers, wait_for_checkpoint

from training.runs.run import Run

pytestmark = pytest.mark.slow
pytest.importorskip("ray", reason="needs residual-keras[ray]")

RAY = ["--ray", "local", "--workers"]


def kill_worker(cluster: int) -> None:
    """Kills one of the processes that train, which Ray gives a title."""
    below = psutil.Process(cluster).children(recursive=True)
    titles = [(process, " ".join(process.cmdline())) for process in below]
    *_, worker = (p for p, title in titles if title.startswith("ray::RayTrainWorker"))
    worker.kill()


def test_two_workers_on_ray_start_again_and_give_the_numbers_of_local_ones(
    shared: SharedFolders, tmp_path: Path
) -> None:
    process = start(tmp_path, *LONG, *RAY, "2", "--max-restarts", "1")
    wait_for_checkpoint(tmp_path)
    kill_worker(process.pid)
    stdout, stderr = process.communicate(timeout=400)
    assert process.returncode == 0, stderr
    assert "resuming at epoch" in stdout + stderr and Run(tmp_path).complete
    assert curves(tmp_path) == curves(two_local_workers(shared))


def test_the_last_line_tells_what_is_kept(tmp_path: Path) -> None:
    process = start(tmp_path, *LONG, *RAY, "1")
    wait_for_checkpoint(tmp_path)
    kill_worker(process.pid)
    _, stderr = process.communicate(timeout=400)
    assert process.returncode == 1
    last = stderr.splitlines()[-1]
    assert last.startswith("error: Ray's workers must run to the end, got ")
    assert last.endswith("is kept: continue with --resume")
