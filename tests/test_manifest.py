"""A manifest tells what an artifact is, and whether it still is that."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from export.metadata import manifest
from training.runs.run import Run

# sha256sum of "graph" and of "weights"
GRAPH = "eef93e1d14482804277fca0172464032d1a4fdbcc338524059fa1e861454ad4d"
WEIGHTS = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    version = tmp_path / "1"
    (version / "variables").mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"graph")
    (version / "variables" / "variables.index").write_bytes(b"weights")
    manifest.write(version, {"format": "SavedModel"})
    return version


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"flatbuffer")
    manifest.write(path, {"format": "TFLite"})
    return path


def test_of_a_folder(folder: Path) -> None:
    manifest.check(folder)
    written = manifest.read(folder)
    assert written["format"] == "SavedModel"
    assert written["files"] == {
        "saved_model.pb": {"size": 5, "sha256": GRAPH},
        "variables/variables.index": {"size": 7, "sha256": WEIGHTS},
    }


def test_of_a_file(file: Path) -> None:
    manifest.check(file)
    assert manifest.location(file).name == "model.tflite.manifest.json"
    assert list(manifest.read(file)["files"]) == ["model.tflite"]
    assert sorted(p.name for p in file.parent.iterdir()) == [
        "model.tflite",
        "model.tflite.manifest.json",
    ]


def test_a_file_may_be_renamed_with_its_manifest(file: Path) -> None:
    renamed = file.with_name("photos v2.tflite")
    manifest.location(file).rename(manifest.location(renamed))
    file.rename(renamed)
    manifest.check(renamed)
    flip(renamed)
    with pytest.raises(ValueError, match=r"photos v2.tflite of .*as exported"):
        manifest.check(renamed)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b" " * 2**25])
def test_a_manifest_that_is_none_is_refused(content: bytes, file: Path) -> None:
    manifest.location(file).write_bytes(content)
    with pytest.raises(ValueError, match="manifest must be JSON, got"):
        manifest.read(file)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


SPOILS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte flipped": (
        lambda p: flip(p / "variables" / "variables.index"),
        r"variables/variables.index of .*1 must be as exported, but its content",
    ),
    "a file missing": (
        lambda p: (p / "saved_model.pb").unlink(),
        "1 lacks saved_model.pb",
    ),
    "a file added": (lambda p: (p / "extra").write_text(""), "1 also contains extra"),
    "a folder linked": (
        lambda p: (p / "extra").symlink_to(p.parent),
        "1 also contains extra",
    ),
    "a file in a folder": (
        lambda p: (p / "variables" / "manifest.json").write_text(""),
        "also contains variables/manifest.json",
    ),
    "no manifest": (lambda p: (p / "manifest.json").unlink(), "must have a manifest"),
    "no JSON": (lambda p: (p / "manifest.json").write_text("{"), "must be JSON"),
    "no Unicode": (lambda p: (p / "manifest.json").write_bytes(b"\xff"), "be JSON"),
    "no files": (lambda p: (p / "manifest.json").write_text("[]"), "must list files"),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_what_is_not_as_exported_is_refused(spoil: str, folder: Path) -> None:
    change, said = SPOILS[spoil]
    change(folder)
    with pytest.raises(ValueError, match=said) as refusal:
        manifest.check(folder)
    assert "\n" not in str(refusal.value)


def test_a_spoilt_file_is_refused(file: Path) -> None:
    flip(file)
    with pytest.raises(ValueError, match=r"model.tflite of .* but its content"):
        manifest.check(file)


def test_source_is_the_run(run: Run) -> None:
    facts = json.loads(json.dumps(manifest.source(run)))
    assert facts["run"]["evaluation"] == run.evaluated
    assert facts["run"]["model"]["overrides"] == {"depths": [1, 1, 1]}
    assert facts["run"]["dataset"]["labels"] == run.config["dataset"]["labels"]
    assert facts["run"]["seed"] == 0
    assert facts["versions"]["keras"].startswith("3.")
