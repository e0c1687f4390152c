"""The run's folder: atomic writing, and what a missing run says."""

import errno
from pathlib import Path

import pytest

from keras_resnet.errors import UsageError
from training.runs import Run, disk_full_told, write_atomically, write_json


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})

    def fail(draft: Path) -> None:
        draft.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(UsageError, match=r"must have room .* No space left"),
        disk_full_told(path),
    ):
        write_atomically(path, fail)
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), disk_full_told(tmp_path):
        raise PermissionError(errno.EACCES, "no")


def test_opening_no_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"config\.json.*training\.fit"):
        Run.open(tmp_path)


def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.create({"recipe": {}})
    with pytest.raises(UsageError, match="--resume"):
        run.require_complete()
