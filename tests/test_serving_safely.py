"""A served version is never half there, and no file takes the server's memory."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import tensorflow as tf
from bombed import ask
from exported import Artifacts
from forked import FORKED, elsewhere
from test_guard import BOMBS, saved

from export import saved_model
from export.formats import versions
from export.load import newest_version
from export.metadata import manifest
from keras_resnet import command
from training.runs.run import Run


def export_until_killed(run: Run, out: Path, overwrite: bool, done: Event) -> None:
    command.load_backend()
    while True:
        saved_model.export(run, out, overwrite=overwrite)
        done.set()


@pytest.mark.slow
@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
def test_killed_exports_leave_whole_versions(
    overwrite: bool, run: Run, artifacts: Artifacts, tmp_path: Path
) -> None:
    """``KILLS=10 python -m pytest tests/test_serving_safely.py`` kills more."""
    kills = int(os.environ.get("KILLS", "2"))
    out = tmp_path / "versions"
    shutil.copytree(artifacts["SavedModel"], out / "1")
    rng = random.Random(0)
    loaded: Counter[str] = Counter()
    graphs = set()

    def load_newest() -> None:
        newest = newest_version(out)
        # A folder swapped while it is read may give files of both versions.
        if not overwrite:
            manifest.check(newest)
        graph = (newest / "saved_model.pb").stat()
        if (state := (graph.st_ino, graph.st_mtime_ns)) in graphs:
            time.sleep(0.02)  # nothing new to load
            return
        graphs.add(state)
        serve = tf.saved_model.load(str(newest)).signatures["serving_default"]
        answer = serve(image=tf.zeros((1, 12, 8, 3)))["probabilities"]
        assert abs(float(tf.reduce_sum(answer)) - 1) < 1e-3
        loaded[newest.name] += 1

    for _ in range(kills):
        done = FORKED.Event()
        arguments = (run, out, overwrite, done)
        export = FORKED.Process(target=export_until_killed, args=arguments, daemon=True)
        export.start()
        start = time.monotonic()
        while export.is_alive() and not done.is_set():
            load_newest()
        now = time.monotonic()
        until = now + rng.random() * (now - start)
        while time.monotonic() < until:
            load_newest()
        export.kill()
        export.join()
        assert export.exitcode == -signal.SIGKILL
        for number in versions.versions(out):
            manifest.check(out / str(number))
    print(f"{kills} killed; versions and how often each loaded: {loaded}")
    assert len(loaded) > 1 or overwrite
    with versions.draft(out):
        pass
    assert all(path.name.isdecimal() for path in out.iterdir())


@pytest.mark.slow
def test_bombs_do_not_take_the_servers_memory(
    artifacts: Artifacts, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "0.jpg").write_bytes(saved("JPEG"))
    for index, (make, _) in enumerate(BOMBS.values(), 1):
        (files / f"{index}.bomb").write_bytes(make())
    found = elsewhere(ask, artifacts["SavedModel"], files)
    answers = found["answers"]
    assert answers.pop("0.jpg") == "served"
    assert len(answers) == len(BOMBS)
    assert all("of at most 50000000 pixels" in said for said in answers.values())
    print(found["MiB"], "MiB")
    assert found["MiB"] < 100, found
