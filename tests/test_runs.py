"""The run's folder: atomic writing, and what a missing run says."""

import errno
import json
from pathlib import Path

import pytest

from keras_resnet.errors import UsageError
from training.readable import readable
from training.runs import Run
from training.writing import write_atomically, write_json, written_to


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})

    def fail(draft: Path) -> None:
        draft.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(UsageError, match=r"must have room .* No space left"),
        written_to(path),
    ):
        write_atomically(path, fail)
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), written_to(tmp_path):
        raise ZeroDivisionError


def test_a_path_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(
        UsageError, match=r"output path must be writable, got .*file/run"
    ):
        Run(tmp_path / "file" / "run").create({})


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"recipe": {"colour": 1}}'])
def test_a_config_of_something_else_is_told(text: str, tmp_path: Path) -> None:
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
    text = readable(values)
    assert json.loads(text) == values
    lines = text.splitlines()
    assert lines[1:5] == ['  "a": 1,', '  "rows": [', "    [1, 2],", "    [3, 4]"]
    assert '      {"b": 2}' in lines and '    "b": 2' in lines
