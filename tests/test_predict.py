"""Labels of image files, from any artifact."""

import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import bombs
import numpy as np
import pytest
from data import noise, write_image
from exported import Artifacts
from onnx import ModelProto

from export.metadata import manifest
from export.metadata.description import Description
from export.predict import Options, main
from export.prediction.classifier import find_images
from export.prediction.render import Prediction, render
from export.runtimes import readers
from keras_resnet import command
from keras_resnet.errors import UsageError

FILES = ("a.png", "b/c.jpg", "b/d/e.GIF", "b/f.webp")
PREDICTIONS = [
    Prediction(Path("a.png"), ("cat", "dog"), (0.75, 0.25)),
    Prediction(Path("b/c.jpg"), ("a dog", "cat"), (0.5, 0.5)),
]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for number, name in enumerate(FILES):
        write_image(folder / name, noise(30, 20, 3, seed=number))
    (folder / "notes.txt").write_text("no image")
    return folder


def test_folders_are_searched_and_files_are_taken_as_they_are(images: Path) -> None:
    assert find_images((images,)) == [images / name for name in FILES]
    notes = images / "notes.txt"
    assert find_images((notes, images / "b" / "d")) == [notes, images / "b/d/e.GIF"]


def test_hidden_files_are_none_of_the_images(images: Path) -> None:
    for name in ("photo.jfif", "scan.JPE", "._a.png", ".cache/a.png", "b/._c.jpg"):
        write_image(images / name, noise(3, 3, 3), format="JPEG")
    expected = sorted([*FILES, "photo.jfif", "scan.JPE"])
    assert [str(p.relative_to(images)) for p in find_images((images,))] == expected
    hidden = images / ".cache"
    assert find_images((hidden, images / "._a.png")) == [
        hidden / "a.png",
        images / "._a.png",
    ]


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"existing file or folder, got .*nothing"):
        find_images((tmp_path / "nothing",))
    with pytest.raises(UsageError, match="folders of image files, got"):
        find_images((tmp_path,))


def test_predictions_are_rendered() -> None:
    assert render(PREDICTIONS, "table") == (
        "a.png    cat    0.7500\n"
        "         dog    0.2500\n"
        "b/c.jpg  a dog  0.5000\n"
        "         cat    0.5000\n"
    )
    assert render(PREDICTIONS[:1], "csv") == (
        "file,rank,label,probability\na.png,1,cat,0.75\na.png,2,dog,0.25\n"
    )
    assert json.loads(render(PREDICTIONS[:1], "json")) == [
        {
            "file": "a.png",
            "predictions": [
                {"label": "cat", "probability": 0.75},
                {"label": "dog", "probability": 0.25},
            ],
        }
    ]
    assert [render([], form) for form in ("table", "json")] == ["", "[]\n"]


def predicted(
    monkeypatch: pytest.MonkeyPatch, *arguments: object, status: int = 0
) -> None:
    """Runs the command line and expects its exit status."""
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
    if status == 0:
        command.run(main)
        return
    with pytest.raises(SystemExit) as stop:
        command.run(main)
    assert stop.value.code == status


def test_file_names_need_not_be_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    found = [Prediction(Path(name), ("größe",), (1.0,))]
    monkeypatch.setattr("export.predict._classify", lambda options: found)
    for form in ("csv", "json"):
        arguments = ("artifact", "image", "--format", form, "--out", tmp_path / form)
        predicted(monkeypatch, *arguments)
    table = (tmp_path / "csv").read_text("utf-8")
    assert table.splitlines()[1] == "caf\\udce9.png,1,größe,1.0"
    (told,) = json.loads((tmp_path / "json").read_bytes())
    assert os.fsencode(told["file"]) == b"caf\xe9.png"


@pytest.fixture(scope="module")
def exported(artifacts: Artifacts) -> dict[str, Path]:
    return {name: artifacts[name] for name in ("SavedModel", "TFLite", "ONNX")}


@pytest.mark.slow
def test_every_artifact_gives_the_same_labels(
    exported: dict[str, Path],
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = {}
    for kind, path in exported.items():
        for runtime in readers(kind):
            out = tmp_path / kind / f"{runtime}.csv"
            predicted(
                monkeypatch,
                *(path, images, "--out", out, "--format", "csv", "--top", 3),
                *("--runtime", runtime),
            )
            with out.open() as file:
                answers[kind, runtime] = list(csv.DictReader(file))
    expected = answers["SavedModel", "tensorflow"]
    assert [row["file"] for row in expected[::3]] == [str(images / n) for n in FILES]
    total = sum(float(row["probability"]) for row in expected)
    assert total == pytest.approx(len(FILES), abs=1e-5)
    for rows in answers.values():
        assert [r["label"] for r in rows] == [r["label"] for r in expected]
        # The decoders differ by a level here and there.
        shares = [[float(r["probability"]) for r in x] for x in (rows, expected)]
        np.testing.assert_allclose(*shares, atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["SavedModel", "TFLite", "ONNX"])
def test_a_bad_file_is_named_and_the_rest_goes_on(
    kind: str,
    exported: dict[str, Path],
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (images / "b" / "bad.png").write_text("no image")
    (images / "b" / "bomb.png").write_bytes(bombs.png(10000))
    predicted(monkeypatch, exported[kind], images, status=1)
    printed = capfd.readouterr()
    lines = printed.out.splitlines()
    assert [line.split()[0] for line in lines] == [str(images / n) for n in FILES]
    first, second, last = printed.err.splitlines()
    assert first.startswith(f"bad image: {images}/b/bad.png: image must be a JPEG, ")
    assert second.startswith(f"bad image: {images}/b/bomb.png: image must be ")
    assert "at most 50000000 pixels, got" in second
    assert last == "error: 2 of 6 images could not be classified"


def test_changed_artifacts_are_not_loaded(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"one")
    predicted(monkeypatch, path, images, status=1)
    assert "must contain its labels" in capsys.readouterr().err
    manifest.write(path, {})
    path.write_bytes(b"two")
    predicted(monkeypatch, path, images, status=1)
    assert "error: not loaded: model.tflite of" in capsys.readouterr().err


@pytest.mark.slow
def test_too_few_labels_are_one_line(
    exported: dict[str, Path],
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "1"
    shutil.copytree(exported["SavedModel"], path)
    (path / "assets" / "labels.txt").write_text("a\nb\n")
    facts = manifest.read(path)
    facts.pop("files")
    manifest.write(path, facts)
    predicted(monkeypatch, path, images, status=1)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith("must have one label for each of its 3 classes, got 2")


@pytest.mark.parametrize("kind", ["TFLite", "ONNX"])
def test_what_is_damaged_is_one_line(
    kind: str,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / f"model.{kind.lower()}"
    about = Description(("cat", "dog"), (12, 8), 3, 1.0).files()
    if kind == "TFLite":
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in about.items():
                archive.writestr(name, text)
    else:
        model = ModelProto()
        for name, text in about.items():
            model.metadata_props.add(key=name, value=text)
        path.write_bytes(model.SerializeToString())
    for runtime in readers(kind):
        predicted(monkeypatch, path, images, "--runtime", runtime, status=1)
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith(f"error: not loaded: {path} in {runtime}: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing from python -m export.predict"),
        (("nothing.tflite", "{images}"), "artifact must be a SavedModel folder"),
        (("{model}", "{images}", "--top", "0"), "top must be at least 1, got 0"),
        (("{model}", "{images}", "--max-pixels", "0"), "max_pixels must be at least"),
        (("{model}", "{images}", "--format", "xml"), "xml"),
        (("{model}", "{images}", "--runtime", "tensorflow"), "one of litert, openvino"),
        (("{model}", "{images}/nothing"), "must be an existing file or folder, got"),
        (("{model}", "{images}", "--out", "{images}"), "got the folder"),
        (("{model}", "{images}", "--out", "{model}/new/x.csv"), "must be writable"),
        (("{model}", "{images}", "--out", "/dev/null"), "must be a regular file"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...],
    said: str,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(b"a model")
    given = [a.format(model=model, images=images) for a in arguments]
    predicted(monkeypatch, *given, status=2)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1 and said in printed.err


def test_answers_are_printed_where_the_file_can_be_written_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "answers"

    def classify(options: Options) -> list[Prediction]:
        place.write_text("a file where the folder would be")
        return PREDICTIONS[:1]

    monkeypatch.setattr("export.predict._classify", classify)
    arguments = ("model.tflite", "a.png", "--top", 2, "--out", place / "a.txt")
    predicted(monkeypatch, *arguments, status=2)
    printed = capsys.readouterr()
    assert printed.out == render(PREDICTIONS[:1], "table")
    assert printed.err.count("\n") == 1 and "must be writable" in printed.err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["TFLite", "ONNX"])
def test_formats_without_tensorflow_need_none(
    kind: str, exported: dict[str, Path], images: Path
) -> None:
    program = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "from export import predict\n"
        "predict.command.run(predict.main)\n"
    )
    line = [sys.executable, "-c", program, str(exported[kind]), str(images)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(FILES)


SIGNALLED = """
import faulthandler, os, signal, sys
from pathlib import Path
from export.runtimes import RUNTIMES

faulthandler.enable()  # gives the main thread a stack for signals, as pytest does
sessions = [RUNTIMES["openvino"].open(Path(p)) for p in sys.argv[1:] * 3]
while sessions:
    del sessions[0]
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.slow
def test_a_process_that_used_openvino_handles_signals(
    exported: dict[str, Path],
) -> None:
    line = [sys.executable, "-c", SIGNALLED, str(exported["ONNX"])]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n")
