"""TFLite files of a network that has learnt something: what 8 bits cost."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export import onnx, tflite
from export.formats.accuracy import Accuracy
from export.formats.tflite import calibration
from export.metadata import manifest
from keras_resnet import command
from keras_resnet.errors import UsageError
from training.experiment.data import load_run_dataset
from training.experiment.train import train
from training.recipes.catalogue import RECIPES
from training.runs.run import Run


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small network that reads digits."""
    run = Run(tmp_path_factory.mktemp("digits"))
    train(replace(RECIPES["digits"], overrides=("depths=(1,1,1)",), epochs=6), run)
    return run


@pytest.mark.slow
def test_int8_loses_less_than_a_point(digits: Run, tmp_path: Path) -> None:
    assert digits.evaluated["top1"] > 0.9
    sizes = {}
    for kind in ("none", "int8"):
        path = tmp_path / f"{kind}.tflite"
        accuracy = tflite.export(digits, path, kind)
        assert accuracy.before == pytest.approx(digits.evaluated["top1"], abs=1e-6)
        assert accuracy.drop <= 1
        facts = manifest.read(path)
        assert facts["quantize"] == kind
        assert facts["accuracy"]["after"] == accuracy.after
        assert facts["accuracy"]["images"] == digits.evaluated["examples"]
        sizes[kind] = path.stat().st_size
    assert sizes["int8"] < 0.4 * sizes["none"]


@pytest.mark.slow
def test_a_file_that_is_too_bad_replaces_nothing(
    digits: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"the old one")
    arguments = ["tflite", str(digits.path), "--out", str(path), "--quantize", "int8"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--max-drop", "-101"])
    with pytest.raises(SystemExit) as stop:
        command.run(tflite.main)
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: accuracy must drop by at most -101 points, got ")
    assert path.read_bytes() == b"the old one"
    assert [file.name for file in tmp_path.iterdir()] == ["model.tflite"]


@pytest.mark.slow
def test_accuracy_may_be_measured_on_a_part(digits: Run, tmp_path: Path) -> None:
    accuracy = tflite.export(digits, tmp_path / "part.tflite", images=50)
    assert accuracy.images == 50


def test_drop_is_in_points() -> None:
    assert Accuracy(before=0.95, after=0.93, images=100).drop == pytest.approx(2)


def test_calibration_sees_every_grey_level_of_real_images(run: Run) -> None:
    data = load_run_dataset(run)
    images = list(calibration(run, data))
    assert len(images) == run.config["dataset"]["examples"]["train"]
    assert {image.shape for image in images} == {(1, 12, 8, 3)}
    assert {image.dtype for image in images} == {np.dtype(np.float32)}
    assert (images[0].min(), images[0].max()) == (0, 255)
    again = list(calibration(run, data))
    np.testing.assert_array_equal(np.concatenate(images), np.concatenate(again))


def test_onnx_says_which_extra_it_needs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.formats.onnx.find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"not installed: onnx, .*residual-keras\[onnx\]"
    ):
        onnx.export(run, tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("exporter", "arguments", "said"),
    [
        (tflite, ["--out", "model.lite"], "must be named *.tflite, got model.lite"),
        (tflite, ["--out", "a.tflite", "--images", "0"], "at least 1, got 0"),
        (tflite, ["--out", "a.tflite", "--quantize", "int4"], "int4"),
        (onnx, ["--out", "model.tflite"], "must be named *.onnx, got model.tflite"),
    ],
)
def test_mistakes_are_one_line(
    exporter: object,
    arguments: list[str],
    said: str,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["export", str(run.path), *arguments])
    with pytest.raises(SystemExit) as stop:
        command.run(exporter.main)
    printed = capsys.readouterr()
    assert (stop.value.code, printed.out) == (2, "")
    assert printed.err.count("\n") == 1 and said in printed.err
