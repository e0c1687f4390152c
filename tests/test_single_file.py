"""A file and its manifest fit, or the file has none, whenever an export is killed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from export import onnx, saved_model, tflite
from export.formats.single_file import publish
from export.load import Artifact
from export.metadata import manifest
from export.verification.safety_checks import require_safe
from keras_resnet.errors import UsageError
from training.runs.run import Run


class Killed(BaseException):
    """What ends a process between two calls."""


@pytest.fixture
def out(run: Run, tmp_path: Path) -> Path:
    """An artifact of an earlier export."""
    path = tmp_path / "model.tflite"
    publish(b"old", path, run, {"quantize": "none"})
    assert path.read_bytes() == b"old"
    return path


@pytest.mark.parametrize("before", ["write", "replace"])
def test_a_killed_export_leaves_no_file_that_is_refused(
    before: str, out: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def kill(*_: object) -> None:
        raise Killed

    def kill_for_manifest(draft: Path, target: Path) -> None:
        if target == manifest.location(out):
            raise Killed
        replace(draft, target)

    if before == "write":
        monkeypatch.setattr(manifest, "write", kill)
    else:
        monkeypatch.setattr(os, "replace", kill_for_manifest)
    with pytest.raises(Killed):
        publish(b"new", out, run, {"quantize": "int8"})
    assert require_safe(Artifact(out, "TFLite")).get("quantize") != "none"
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_full_disk_leaves_the_old_pair(
    out: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageError, match="disk must have room"):
        publish(b"new", out, run, {"quantize": "int8"})
    assert out.read_bytes() == b"old"
    assert require_safe(Artifact(out, "TFLite"))["quantize"] == "none"


def test_two_exports_to_one_place_do_not_take_each_others_drafts(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, umask = os.replace, os.umask(0o22)
    os.umask(umask)

    def overtaken(draft: str, target: Path) -> None:
        monkeypatch.setattr(os, "replace", replace)
        manifest.write(out, {"quantize": "dynamic"})
        replace(draft, target)

    monkeypatch.setattr(os, "replace", overtaken)
    manifest.write(out, {"quantize": "int8"})
    assert require_safe(Artifact(out, "TFLite"))["quantize"] == "int8"
    target = manifest.location(out)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask
    assert sorted(path.name for path in out.parent.iterdir()) == [out.name, target.name]


EXPORTS: dict[str, tuple[Callable[[Run, Path], object], str]] = {
    "SavedModel": (saved_model.export, "."),
    "TFLite": (tflite.export, "model.tflite"),
    "ONNX": (onnx.export, "model.onnx"),
}


@pytest.mark.parametrize("kind", EXPORTS)
def test_nothing_is_added_to_a_published_version(
    kind: str, run: Run, tmp_path: Path
) -> None:
    version = tmp_path / "photos" / "1"
    version.mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"graph")
    export, name = EXPORTS[kind]
    with pytest.raises(UsageError, match=f"outside a version, .* example {tmp_path}/p"):
        export(run, version / name)
    assert len(list(version.iterdir())) == 1


def test_a_folder_is_no_file(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "model.onnx"
    folder.mkdir()
    with pytest.raises(
        UsageError, match=r"must be a file, got the folder .*model\.onnx"
    ):
        onnx.export(run, folder)
