"""The command line of training: a mistake is one line, exit code 2, nothing written."""

import gzip
import json
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_resnet import command
from keras_resnet.errors import UsageError
from training import fit
from training.recipes.catalogue import RECIPES
from training.runs.run import Run

TINY = ["--overrides", "depths=(1,1,1)", "--epochs", "2", "--batch-size", "32"]

PNG = tf.io.encode_png(np.zeros((4, 4, 3), np.uint8)).numpy()
TRAIN_LABELS = "train-labels-idx1-ubyte"


def idx_labels(*labels: int) -> bytes:
    return b"\0\0\x08\1" + len(labels).to_bytes(4, "big") + bytes(labels)


IMAGES = b"\0\0\x08\3" + b"".join(n.to_bytes(4, "big") for n in (2, 8, 8)) + bytes(128)
IDX = {f"{prefix}-images-idx3-ubyte": IMAGES for prefix in ("train", "t10k")} | {
    f"{prefix}-labels-idx1-ubyte": idx_labels(0, 1) for prefix in ("train", "t10k")
}
GZ = {f"{name}.gz": gzip.compress(data) for name, data in IDX.items()}

MISTAKES = {
    "unknown model": (["--model", "resnet51"], "did you mean 'resnet50'"),
    "unknown field": (["--overrides", "shortcuts=C"], "did you mean 'shortcut'"),
    "bad value": (["--overrides", "shortcut=D"], "must be one of A, A_pooled, B, C"),
    "unknown dataset": (["--dataset", "digit"], "dataset must be digits, tfds"),
    "missing folder": (["--dataset", "folder:/nowhere"], "must exist, got '/nowhere'"),
    "missing idx": (["--dataset", "idx:/nowhere"], "must exist, got '/nowhere'"),
    "negative epochs": (
        ["--epochs", "-1"],
        "epochs must be between 1 and 1000000, got -1",
    ),
    "zero epochs": (["--epochs", "0"], "epochs must be between 1 and 1000000, got 0"),
    "zero batch": (
        ["--batch-size", "0"],
        "batch_size must be between 1 and 1048576, got 0",
    ),
    "many epochs": (["--epochs", str(10**9)], "between 1 and 1000000, got"),
    "many workers": (["--workers", "100000"], "workers must be between 1 and 256, got"),
    "infinite decay": (["--weight-decay", "inf"], "must be at least 0 and finite, got"),
    "wide pad": (["--pad", "9"], "pad must be at most the side of the images (8"),
    "absurd pad": (["--pad", "100000"], "pad must be between 0 and 32768, got 100000"),
    "negative profile": (["--profile", "-1"], "profile must be at least 0, got -1"),
    "not a number": (["--epochs", "ten"], "ten"),
    "unknown option": (["--epoch", "3"], "--epoch"),
    "unknown recipe": (["--recipe", "nonsense"], "recipe must be one of default"),
    "too small": (["--model", "resnet50"], "at least 32×32 pixels"),
    "no run": (["--resume"], "must hold a config.json"),
}


def run_command(
    arguments: list[str], capsys: pytest.CaptureFixture[str], out: Path
) -> tuple[int, str]:
    """Runs the command in this process; returns exit code and stderr."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fit", *arguments, "--out", str(out)])
        with pytest.raises(SystemExit) as exit_:
            command.run(fit.main)
    return int(exit_.value.code or 0), capsys.readouterr().err


def folder_with(files: dict[str, bytes], root: Path) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


DAMAGED = {
    "empty class": ({"a/x.png": PNG, "b/.keep": b""}, "folder", "got none in"),
    "no image": ({"a/x.png": PNG, "b/notes.txt": b"hello"}, "folder", "notes.txt"),
    "label out of range": (IDX | {TRAIN_LABELS: idx_labels(0, 9)}, "idx", "got 9"),
    "truncated gz": (
        GZ | {f"{TRAIN_LABELS}.gz": b"\x1f\x8b\x08"},
        "idx",
        "must be readable",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_data_is_one_line_and_writes_nothing(
    damage: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    files, kind, expected = DAMAGED[damage]
    data = folder_with(files, tmp_path / "data")
    code, stderr = run_command(
        ["--dataset", f"{kind}:{data}"], capsys, tmp_path / "run"
    )
    assert code == 2 and expected in stderr
    assert stderr.startswith("error: ") and stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_resume_refuses_data_that_changed(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = run.config
    config["dataset"]["examples"]["train"] += 1
    changed = Run(tmp_path / "run")
    changed.create(config)
    code, stderr = run_command(["--resume"], capsys, changed.path)
    assert code == 2 and "must be resumed with the same train images, " in stderr


def test_a_run_that_was_killed_before_it_began_is_new(tmp_path: Path) -> None:
    for run in (Run(tmp_path), Run(tmp_path / "run")):
        fit._require_new(run)
        run.checkpoints.mkdir(parents=True)
        run.lock.touch()
        (run.path / ".config-x.json").touch()
        fit._require_new(run)
        (run.path / "mine").touch()
        with pytest.raises(UsageError, match="which contains other files"):
            fit._require_new(run)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_writes_nothing(
    mistake: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments, expected = MISTAKES[mistake]
    code, stderr = run_command(arguments, capsys, tmp_path / "run")
    assert code == 2
    assert expected in stderr
    assert stderr.startswith("error: ") and stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_with_something_in_it_is_refused(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, stderr = run_command([], capsys, run.path)
    assert code == 2 and "contains a run; continue it" in stderr
    (tmp_path / "other").write_text("mine")
    code, stderr = run_command([], capsys, tmp_path)
    assert code == 2 and "contains other files; choose another --out" in stderr
    code, stderr = run_command([], capsys, tmp_path / "other")
    assert code == 2 and "which is not a folder" in stderr


def test_resume_refuses_another_recipe(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    code, stderr = run_command(["--resume", "--epochs", "9"], capsys, run.path)
    said = "epochs must be the run's, 2, to resume it, got 9; omit --epochs or train"
    assert code == 2 and said in stderr
    code, stderr = run_command(["--resume", "--recipe", "default"], capsys, run.path)
    assert code == 2 and "omit --recipe or train into another folder" in stderr


def test_resume_of_a_complete_run_says_so(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["fit", "--resume", "--out", str(run.path)])
    fit.main()
    assert "is complete" in capsys.readouterr().out


def test_recipe_gives_the_other_defaults() -> None:
    options = fit.read_options(["--recipe", "resnet_cifar", "--epochs", "3"])
    recipe = options.hyperparameters
    assert (recipe.epochs, recipe.schedule, recipe.decay) == (3, "step", "all")
    assert str(options.run.path) == "runs/resnet20_cifar-cifar10"
    options = fit.read_options(["--epochs=9", "--recipe=rsb_a3", "--recipe=rsb_a2"])
    assert options.hyperparameters.overrides == RECIPES["rsb_a2"].overrides
    with pytest.raises(UsageError, match=r"value for argument '--epochs'"):
        fit.read_options(["--epochs", "--recipe", "default"])


def test_help_imports_no_backend() -> None:
    code = (
        "import sys; sys.argv = ['fit', '--help']\n"
        "from training import fit\n"
        "try: fit.main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--batch-size" in done.stdout


def start(out: Path, *arguments: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "training.fit", *TINY, "--out", str(out), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


@pytest.mark.slow
def test_a_run_outlives_a_signal_a_full_disk_and_its_reader(tmp_path: Path) -> None:
    out = tmp_path / "run"
    data = ("--dataset", "synthetic:16x16x3:4:2000")
    first = start(out, *data)
    wait_for(out / "checkpoints", "000001-*")  # epoch 1 is saved
    first.send_signal(signal.SIGTERM)
    _, stderr = first.communicate(timeout=120)
    assert first.returncode == 143
    assert stderr.startswith("error: stopped by SIGTERM") and stderr.count("\n") == 1
    before = contents(out / "checkpoints")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    full = start(out, *data, "--resume", preexec_fn=limited)
    stdout, stderr = full.communicate(timeout=300)
    assert full.returncode == 2
    assert stderr.count("\n") == 1 and "disk must have room" in stderr
    assert "resuming at epoch 2" in stdout
    after = contents(out / "checkpoints")
    assert {name: after[name] for name in before} == before
    with start(out, *data, "--resume") as unread:
        assert unread.stdout and unread.stderr
        unread.stdout.close()
        assert unread.stderr.read() == ""
    assert unread.returncode == 0
    assert Run(out).complete and len(Run(out).epochs) == 2
    assert np.isfinite(Run(out).evaluated["loss"])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.glob("0*/*")}


def wait_for(folder: Path, pattern: str, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not any(folder.glob(pattern)):
        assert time.monotonic() < until, f"{folder}/{pattern} did not appear"
        time.sleep(0.1)


def test_cache_may_change_when_a_run_is_resumed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.experiment import config

    monkeypatch.setattr("sys.argv", ["fit"])
    asked = ["--out", str(run.path), "--resume", "--cache", "memory"]
    assert fit.read_options(asked).hyperparameters.cache == "memory"
    with pytest.raises(UsageError, match=r"seed must be .* 0, to resume it, got 1"):
        fit.read_options([*asked[:3], "--seed", "1"])
    now = json.loads(json.dumps(run.config))
    now["recipe"]["cache"] = "memory"
    config.require_same(run.config, now)
    with pytest.raises(
        UsageError, match=r"cache must be .*disk', to resume it, got 'd"
    ):
        fit.read_options([*asked[:3], "--cache", "decoded"])
    now["recipe"]["cache"] = "decoded"
    with pytest.raises(UsageError, match=r"same cache, .* got 'decoded'$"):
        config.require_same(run.config, now)
    config.require_same(now, now)
    now["recipe"]["cache"] = "memory"
    now["recipe"]["max_pixels"] = 1
    with pytest.raises(UsageError, match=r"the same max_pixels, \d+, got 1$"):
        config.require_same(run.config, now)


def test_a_run_of_before_a_field_was_there_goes_on(run: Run) -> None:
    from training.experiment import config

    stored = run.config
    del stored["recipe"]["train_size"]
    config.require_same(stored, run.config)


@pytest.mark.slow
def test_determinism_is_kept_when_a_run_is_resumed(
    run: Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from training.experiment import config
    from training.experiment.experiment import build_experiment

    stored = run.config
    asked = ["--out", str(tmp_path), "--resume"]
    for before, option, after, said in (
        (True, [], True, ""),
        (True, ["--no-deterministic"], False, "without --deterministic, begun with it"),
        (False, ["--deterministic"], True, "with --deterministic, begun without"),
        (None, ["--deterministic"], True, ""),  # begun before it was stored
        (None, [], False, ""),
    ):
        del stored["recipe"]["deterministic"]
        if before is not None:
            stored["recipe"]["deterministic"] = before
        Run(tmp_path).create(stored)
        recipe = fit.read_options([*asked, *option]).hyperparameters
        assert recipe.deterministic is after
        now = stored | {"recipe": recipe.to_dict()}
        config.require_same(stored, now)
        config.warn_of_rounding(stored, now)
        printed = capsys.readouterr().err
        assert said in printed and printed.count("\n") == bool(said)
        stored = now
    turned_on: list[bool] = []
    turn_on = "tensorflow.config.experimental.enable_op_determinism"
    monkeypatch.setattr(turn_on, lambda: turned_on.append(True))
    build_experiment(replace(run.recipe, deterministic=True))
    assert turned_on == [True]
