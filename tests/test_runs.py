"""The run's folder: atomic writing, and what a missing run says."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from keras_resnet.catalogue import find_spec
from keras_resnet.errors import UsageError
from keras_resnet.families.resnet import ResNetSpec
from training.recipes.catalogue import load_recipe
from training.runs.run import Run
from training.storage.json_text import format_json
from training.storage.writing import (
    report_write_errors,
    require_writable,
    write_atomically,
    write_json,
)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})

    def fail(draft: Path) -> None:
        draft.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(UsageError, match=r"must have room .* No space left"),
        report_write_errors(path),
    ):
        write_atomically(path, fail)
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_have_the_permissions_that_open_would_give(
    umask: int, tmp_path: Path
) -> None:
    ours, usual, old = (tmp_path / name for name in ("ours", "usual", "old"))
    old.touch()
    old.chmod(0o460)
    seen = []

    def write(draft: Path) -> None:
        seen.append(draft.stat().st_mode & 0o777)
        draft.write_text("new")

    before = os.umask(umask)
    try:
        usual.write_text("new")
        write_atomically(ours, write)
        write_atomically(old, write)
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (ours, usual, old)]
    assert modes == [0o666 & ~umask, 0o666 & ~umask, 0o460]
    assert seen == [0o666 & ~umask, 0o660]  # no more than in the end, but writable


def test_a_written_file_and_its_folders_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    replace, fsync = Path.replace, os.fsync

    def note_replace(draft: Path, path: Path) -> Path:
        calls.append("replace")
        return replace(draft, path)

    def note_fsync(descriptor: int) -> None:
        calls.append(Path(f"/proc/self/fd/{descriptor}").readlink().name[:6])
        fsync(descriptor)

    monkeypatch.setattr(Path, "replace", note_replace)
    monkeypatch.setattr(os, "fsync", note_fsync)
    Run(tmp_path / "deeper" / "folder").create({})
    above = [tmp_path.name[:6], "deeper"]
    assert sorted(calls[:2]) == sorted(above)
    assert calls[2:] == [".confi", "replace", "folder"]


def test_only_files_are_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match=r"must be a regular file, got .*/pipe"):
        write_json(tmp_path / "pipe", {})
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_vanished_input_is_no_mistake_of_the_output(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.create({})
    for output in (run.path, run.report):
        with pytest.raises(FileNotFoundError), report_write_errors(output):
            (tmp_path / "image.png").read_bytes()
    with pytest.raises(UsageError, match=r"got .*run/model\.keras missing$"):  # noqa: SIM117
        with report_write_errors(run.path):
            run.model.read_bytes()
    with pytest.raises(FileNotFoundError), report_write_errors(run.report):
        run.model.read_bytes()


@pytest.mark.parametrize("url", ["gs://b/run", "s3://b", "file:///tmp/run", "hf:/x"])
def test_a_url_is_no_output(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"must be local, got the URL '.*:/.*'; use"):
        Run(Path(url)).create({})
    assert list(tmp_path.iterdir()) == []


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), report_write_errors(tmp_path):
        raise ZeroDivisionError


def test_a_path_that_cannot_be_written_to_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(
        UsageError, match=r"output path must be writable, got .*file/run"
    ):
        Run(tmp_path / "file" / "run").create({})


def test_a_place_is_known_to_be_writable_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in ("new", "new/folder/x", "file"):
        require_writable(tmp_path / place)
    path = tmp_path / "file" / "x"
    with pytest.raises(UsageError, match=f"writable, got {path}: Not a directory"):
        require_writable(path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"recipe": {"colour": 1}}'])
def test_a_config_of_something_else_is_reported(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(
        UsageError, match=r"must be a run's config|unknown recipe field"
    ):
        Run.open(tmp_path)


def test_opening_no_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"config\.json.*training\.fit"):
        Run.open(tmp_path)


def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.create({"recipe": {}})
    with pytest.raises(UsageError, match="--resume"):
        run.require_complete()


def test_json_of_a_run_is_readable_and_reads_back() -> None:
    values = {
        "a": 1,
        "rows": [[1, 2], [3, 4]],
        "deep": {"names": ["ä"], "none": None, "row": [{"b": 2}]},
        "mapping": {"b": 2},
        "empty": [],
    }
    text = format_json(values)
    assert json.loads(text) == values
    lines = text.splitlines()
    assert lines[1:5] == ['  "a": 1,', '  "rows": [', "    [1, 2],", "    [3, 4]"]
    assert '      {"b": 2}' in lines and '    "b": 2' in lines


@pytest.mark.parametrize("by", ["run", "recipe"])
def test_an_older_config_keeps_the_network_that_was_trained(
    by: str, tmp_path: Path
) -> None:
    """Stochastic depth's networks subsampled before configs held a spec."""
    config: dict[str, Any] = {
        "recipe": {"model": "resnet110_sd_cifar", "overrides": ["depths=(1,1)"]},
        "model": {"name": "resnet110_sd_cifar"},
    }
    path = tmp_path / "config.json"
    for spec, shortcut in (({}, "A"), ({"spec": {}}, "A_pooled")):
        stored = {**config, "model": config["model"] | spec}
        path.write_text(json.dumps(stored), "utf-8")
        recipe = Run(tmp_path).recipe if by == "run" else load_recipe(str(path))
        found = find_spec(recipe.model, **recipe.spec_fields)
        assert isinstance(found, ResNetSpec)
        assert (found.shortcut, found.depths) == (shortcut, (1, 1))
