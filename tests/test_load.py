"""Artifacts are found, and runtimes chosen, by what is there."""

from pathlib import Path

import pytest
import sklearn

from export.load import choose, find, newest_version
from export.runtimes import RUNTIMES, readers
from export.worker import Worker, _version


def saved_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    return folder


def test_formats_are_found_out(tmp_path: Path) -> None:
    for version in (2, 10):
        saved_model(tmp_path / str(version))
    newest = find(tmp_path)
    assert (newest.path, newest.kind, newest.size) == (
        tmp_path / "10",
        "SavedModel",
        5,
    )
    assert find(tmp_path / "2").path == tmp_path / "2"
    for suffix, kind in {".tflite": "TFLite", ".onnx": "ONNX"}.items():
        file = tmp_path / f"model{suffix}"
        file.write_bytes(b"abc")
        found = find(file)
        assert (found.path, found.kind, found.size) == (file, kind, 3)


def test_what_is_no_artifact_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.h5").write_bytes(b"abc")
    assert newest_version(tmp_path) is None
    for path in (tmp_path, tmp_path / "model.h5", tmp_path / "nothing.tflite"):
        with pytest.raises(FileNotFoundError, match="artifact must be a SavedModel"):
            find(path)


@pytest.mark.parametrize("kind", ["SavedModel", "TFLite", "ONNX"])
def test_every_format_has_a_runtime(kind: str) -> None:
    assert choose(kind) == readers(kind)[0]
    for name in readers(kind):
        assert choose(kind, name) == name
        assert kind in RUNTIMES[name].kinds


def test_runtimes_that_cannot_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="one of litert, openvino, got 'tensorflow'"):
        choose("TFLite", "tensorflow")
    monkeypatch.setattr("export.runtimes.find_spec", lambda name: None)
    assert readers("ONNX") == []
    said = "none of onnxruntime, openvino is; pip install onnxruntime or openvino"
    with pytest.raises(ValueError, match=said):
        choose("ONNX")
    with pytest.raises(
        ValueError, match="none of litert is; pip install ai-edge-litert"
    ):
        choose("TFLite", "litert")


def test_a_program_that_is_missing_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert not RUNTIMES["c-api"].installed
    assert RUNTIMES["tensorflow"].installed


@pytest.mark.slow
def test_a_worker_tells_why_it_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"an \.onnx file, got nothing at .*absent"):
        Worker(tmp_path / "absent", "litert")
    with pytest.raises(RuntimeError, match=r"an \.onnx file, got /"):
        Worker(tmp_path, "litert")
    file = tmp_path / "model.tflite"
    file.write_bytes(b"nonsense")
    with pytest.raises(RuntimeError, match="one of litert, openvino, got 'bogus'"):
        Worker(file, "bogus")
    with pytest.raises(RuntimeError):
        Worker(file, "litert")
    with pytest.raises(RuntimeError, match="the process ended with status 1"):
        Worker(file, "litert", {"PYTHONHOME": "/nowhere"})


@pytest.mark.slow
def test_versions_are_found_whatever_a_package_is_installed_as() -> None:
    """TensorFlow may come from tensorflow-cpu, scikit-learn has sklearn."""
    assert _version("sklearn") == sklearn.__version__
    assert _version("nothing_of_this_name") == "unknown"
