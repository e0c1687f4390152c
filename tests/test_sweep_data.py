"""Whether a sweep goes on with the data that it was begun on, wherever that is."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from data import write_classes
from in_process import EndedProcess, run_sweep, start_here
from keras_tuner.engine.trial import Trial
from test_findings import reads, swap
from test_session import stop_after

from keras_resnet.errors import Stopped, UsageError
from training.recipes.catalogue import load_recipe
from training.sweeps.data import require_same_data
from training.sweeps.encoding import hyperparameters
from training.sweeps.folder import Sweep
from training.sweeps.options import read_options
from training.sweeps.oracles import Grid
from training.sweeps.results import rows_of
from training.sweeps.search import begin, plan_of
from training.sweeps.trials import ProcessTuner

# keras-tuner 1.4.8 asks for threading.currentThread().getName().
pytestmark = pytest.mark.filterwarnings(
    "ignore:(currentThread|getName):DeprecationWarning"
)

SPACE = ["--space", "learning_rate=0.02,0.1", "--overrides", "depths=(1,1,1)"]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_classes(tmp_path / "photos", "abc", count=10)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def go(*words: str) -> Sweep:
    """Does what the command does before its first trial."""
    plan, options = plan_of(read_options(["--out", "sweep", *words]))
    sweep = Sweep(options.out.absolute())
    begin(sweep, options, plan)
    return sweep


def as_of_an_older_version(sweep: Sweep) -> Sweep:
    stored: dict[str, Any] = json.loads((sweep.path / "sweep.json").read_text("utf-8"))
    del stored["dataset"]
    (sweep.path / "sweep.json").write_text(json.dumps(stored), "utf-8")
    return Sweep(sweep.path)


def swapped(photos: Path) -> None:
    swap(photos / "a", photos / "b")


def renamed(photos: Path) -> None:
    (photos / "b").rename(photos / "bee")


def added(photos: Path) -> None:
    write_classes(photos, "d", count=10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (swapped, "the same images and labels; got others in train and test"),
        (renamed, "the class 'b'; got 'bee'"),
        (added, "images of 3 classes; got {'train': 32, 'test': 8} of 4"),
    ],
)
@pytest.mark.parametrize("words", [[], [*SPACE, "--dataset", "folder:photos"]])
def test_a_sweep_is_resumed_on_the_same_data(
    change: Any, said: str, words: list[str], photos: Path
) -> None:
    go("--dataset", "folder:photos", *SPACE)
    sweep = go("--resume", *words)
    change(photos)
    expected = f"must be the data that {sweep.path} was begun on, .*{said}; restore it"
    with pytest.raises(UsageError, match=expected) as caught:
        go("--resume", *words)
    assert "\n" not in str(caught.value)
    worker = read_options(["--out", "sweep", "--resume"])
    with pytest.raises(UsageError, match=expected):
        require_same_data(sweep, plan_of(worker)[0].data)


def test_files_are_read_once_to_know_them(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = reads(monkeypatch)
    go("--dataset", "folder:photos", *SPACE)
    assert len(seen) == len(set(seen)) == 30


@pytest.mark.slow
def test_a_sweep_without_digests_resumes_in_its_place(photos: Path) -> None:
    as_of_an_older_version(go("--dataset", "folder:photos", *SPACE))
    swapped(photos)
    sweep = go("--resume")
    assert "dataset" not in sweep.settings
    go("--resume", "--dataset", "folder:./photos/")
    shutil.copytree(photos, "moved")
    with pytest.raises(
        UsageError, match=r"same dataset \(folder:photos\), got folder:mov"
    ):
        go("--resume", "--dataset", "folder:moved")


@pytest.mark.slow
def test_places_of_a_sweep_are_compared_as_places(photos: Path) -> None:
    go("--dataset", "folder:photos/", *SPACE)
    Path("link").symlink_to(photos)
    for name in ("photos", "./photos", "link", str(photos)):
        go("--resume", "--dataset", f"folder:{name}")
        go("--resume", *SPACE, "--dataset", f"folder:{name}")


@pytest.mark.slow
def test_data_of_a_sweep_may_be_moved(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go("--dataset", "folder:photos", *SPACE)
    shutil.move(photos, "moved")
    with pytest.raises(UsageError, match=r"sweep must exist, .*--dataset"):
        go("--resume")
    write_classes(tmp_path / "others", "abc", count=9)
    with pytest.raises(UsageError, match="folder:others must be the data that"):
        go("--resume", "--dataset", "folder:others")
    sweep = go("--resume", "--dataset", "folder:moved/")
    assert Sweep(sweep.path).settings["dataset"]["place"] == f"folder:{tmp_path}/moved"
    go("--resume")  # it is written down
    monkeypatch.chdir(tmp_path / "others")
    go("--resume", "--out", str(sweep.path))


@pytest.mark.slow
@pytest.mark.parametrize("begun", [True, False])
def test_a_trial_that_was_begun_gets_the_new_location(
    begun: bool, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = go("--dataset", "folder:photos", *SPACE)
    shutil.move(photos, "moved")
    words = ["--out", "sweep", "--resume", "--dataset", "folder:moved"]
    plan, _ = plan_of(read_options(words))
    lines = []

    def start(line: list[str], **_: Any) -> subprocess.Popen[bytes]:
        lines.append(line)
        return subprocess.Popen([sys.executable, "-c", ""])

    monkeypatch.setattr("training.sweeps.trials.start_process", start)
    if begun:
        sweep.run("t0").create({})
    trial = Trial(hyperparameters(plan.space), "0")
    trials = ProcessTuner(Grid(plan), plan, sweep, ["worker0"])
    asyncio.run(trials._train_in_process(trial, sweep.run("t0"), {}))
    recipe = sweep.recipe("t0")
    if begun:
        assert lines[0][-2:] == ["--resume", "--dataset=folder:moved"]
    else:
        assert lines[0][-1:] == [f"--recipe={recipe}"]
        assert load_recipe(str(recipe)).dataset == "folder:moved"


@pytest.mark.slow
def test_a_trial_goes_on_where_its_data_was_moved(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(line: list[str], **options: Any) -> EndedProcess:
        """Runs a trial that is stopped in its second epoch, and the sweep with it."""
        with pytest.MonkeyPatch.context() as patch:
            stop_after(patch, steps=7, number=signal.SIGTERM)
            ended = start_here(line, **options)
        os.kill(os.getpid(), signal.SIGTERM)
        return ended

    small = ["--image-size", "8", "--batch-size", "4", "--epochs", "2"]
    point = ["--space", "learning_rate=0.02", "--overrides", "depths=(1,)"]
    words = [*point, *small, "--tuner", "grid", "--dataset", "folder:photos"]
    sweep = Sweep(photos.with_name("sweep"))
    with monkeypatch.context() as patch:
        patch.setattr("in_process.start_here", stopped)
        with pytest.raises(Stopped, match="stopped by SIGTERM; all progress is kept"):
            run_sweep("--out", "sweep", *words)
    assert len(sweep.run("t0000").epochs) == 1 and not sweep.run("t0000").complete
    shutil.move(photos, "moved")
    run_sweep("--out", "sweep", "--resume", "--dataset", "folder:moved")
    assert [row["status"] for row in rows_of(sweep)] == ["completed"]
    assert "resuming at epoch" in sweep.log("t0000").read_text("utf-8")
    place = sweep.run("t0000").config["dataset"]["place"]
    assert place == f"folder:{photos.with_name('moved')}"
