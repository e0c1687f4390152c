"""A served version is never half there, and no file takes the server's memory."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_guard import BOMBS, saved

from export import saved_model
from export.formats import versions
from export.metadata import manifest
from training.runs.run import Run

HERE = Path(__file__).parent


def python(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--overwrite"]], ids=["new", "overwrite"])
def test_killed_exports_leave_whole_versions(
    options: list[str], run: Run, tmp_path: Path
) -> None:
    """``KILLS=10 python -m pytest tests/test_serving_safely.py`` kills more."""
    kills = int(os.environ.get("KILLS", "3"))
    out, stop = tmp_path / "versions", tmp_path / "stop"
    line = ["-m", "export.saved_model", run.path, "--out", out, *options]
    start = time.monotonic()
    first = python(*line)
    assert first.communicate() and first.returncode == 0
    whole = time.monotonic() - start
    # A folder swapped while it is read may give files of both versions.
    watcher = python(HERE / "watching.py", out, stop, *([] if options else ["--check"]))
    rng = random.Random(0)
    killed = 0
    for _ in range(kills):
        export = python(*line)
        time.sleep(rng.uniform(0.4, 1.0) * whole)
        export.send_signal(signal.SIGKILL)
        export.communicate()
        killed += export.returncode == -signal.SIGKILL
        for number in versions.versions(out):
            manifest.check(out / str(number))
    stop.touch()
    printed, said = watcher.communicate()
    assert watcher.returncode == 0, said
    loaded = json.loads(printed)
    print(f"{killed} of {kills} killed; versions and how often each loaded: {loaded}")
    assert killed >= 1
    assert sum(loaded.values()) >= kills // 2
    with versions.draft(out):
        pass
    assert all(path.name.isdecimal() for path in out.iterdir())


@pytest.mark.slow
def test_bombs_do_not_take_the_servers_memory(run: Run, tmp_path: Path) -> None:
    folder = saved_model.export(run, tmp_path / "versions")
    files = tmp_path / "files"
    files.mkdir()
    (files / "0.jpg").write_bytes(saved("JPEG"))
    for index, (make, _) in enumerate(BOMBS.values(), 1):
        (files / f"{index}.bomb").write_bytes(make())
    served = python(HERE / "bombed.py", folder, files)
    printed, said = served.communicate()
    assert served.returncode == 0, said
    found = json.loads(printed)
    answers = found["answers"]
    assert answers.pop("0.jpg") == "served"
    assert len(answers) == len(BOMBS)
    assert all("of at most 50000000 pixels" in said for said in answers.values())
    print(found["MiB"], "MiB")
    assert found["MiB"] < 100, found
