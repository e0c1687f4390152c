"""Evaluation: every example once, whatever the batches; other data must fit."""

import errno
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score

from keras_resnet.errors import UsageError
from training import fit
from training.analyse import main as analyse
from training.data.preprocessing import Preprocessing
from training.data.types import Dataset, pixels, strings
from training.distributed.backend import backend
from training.distributed.hardware import Hardware
from training.evaluate import evaluate_run, main
from training.evaluation.assessment import SUMMARY, assess, predict
from training.evaluation.metrics import Evaluator
from training.evaluation.predictions import Predictions
from training.runs.run import Run
from training.storage.writing import write_json


def dataset(count: int, classes: int) -> Dataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 4, 4, 2), np.uint8)
    split = pixels(images, rng.integers(0, classes, count))
    names = tuple(str(i) for i in range(classes))
    return Dataset("made", {"test": split}, names, 2, (4, 4), mirrors=False)


@pytest.mark.parametrize("count", [1, 255, 256, 600])
def test_figures_equal_numpys_over_all_examples(count: int) -> None:
    data = dataset(count, classes=8)
    image = keras.Input((4, 4, 2))
    logits = keras.layers.Dense(8)(keras.layers.Flatten()(image))
    model = keras.Model(image, logits)
    preprocessing = Preprocessing((4, 4), 2, 1.0, (100.0, 120.0), (50.0, 60.0))
    predictions = predict(Evaluator(model, preprocessing), data, preprocessing, "test")
    found = assess(predictions, data, "test")

    split = data.splits["test"]
    inputs = (split.images.numpy() - [100.0, 120.0]) / [50.0, 60.0]
    values = inputs.reshape(count, -1) @ model.layers[-1].kernel.numpy()
    labels = split.labels.numpy()
    own = values[np.arange(count), labels]
    rank = (values > own[:, np.newaxis]).sum(-1)
    log_sum = np.log(np.exp(values - values.max(-1, keepdims=True)).sum(-1))
    loss = log_sum + values.max(-1) - own
    assert found["examples"] == count
    assert found["top1"] == pytest.approx((rank < 1).mean())
    assert found["top5"] == pytest.approx((rank < 5).mean())
    assert found["loss"] == pytest.approx(loss.mean(), rel=1e-4)
    np.testing.assert_array_equal(predictions.labels, labels)
    np.testing.assert_array_equal(predictions.predicted, values.argmax(-1))
    confidence = np.exp(values.max(-1) - values.max(-1) - log_sum)
    np.testing.assert_allclose(predictions.confidence, confidence, rtol=1e-3)
    assert np.sum(found["confusion"]) == count
    for mistake in found["mistakes"]:
        index = mistake["index"]
        assert mistake["label"] == str(labels[index]) != mistake["predicted"]
        assert mistake["path"] is None


def test_another_data_set_must_have_the_same_classes_and_channels(run: Run) -> None:
    with pytest.raises(UsageError, match=r"run's, 3 classes.*got 4 .*, with class3$"):
        evaluate_run(run, dataset="synthetic:12x8x3:4:40")
    with pytest.raises(UsageError, match="must have the run's 3 channels, got 1"):
        evaluate_run(run, dataset="synthetic:12x8x1:3:40")
    with pytest.raises(UsageError, match="split must be one of train, test"):
        evaluate_run(run, split="val")


@pytest.mark.slow
def test_another_data_set_of_another_size_is_resized(run: Run) -> None:
    before = run.evaluated
    assert evaluate_run(run, dataset="synthetic:30x20x3:3:40")["examples"] == 8
    assert run.evaluated == before


@pytest.mark.slow
@pytest.mark.parametrize("kind, compiled", [("gpu", True), ("cpu", False)])
def test_xla_is_of_the_machine_at_hand(
    kind: str, compiled: bool, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run trained with XLA on a GPU may be evaluated on a CPU, where none pays."""
    copy = Run(Path(shutil.copytree(run.path, tmp_path / "run")))
    config = run.config
    config["device"]["xla"] = True
    write_json(copy.path / "config.json", config)
    asked = []

    class Spy(Evaluator):
        def __init__(self, *arguments: Any, jit_compile: bool, **options: Any) -> None:
            asked.append(jit_compile)
            super().__init__(*arguments, **options)

    monkeypatch.setattr("training.evaluation.metrics.Evaluator", Spy)
    here = Hardware(kind, "made", bfloat16=True, float16=True)
    monkeypatch.setattr(backend, "detect_hardware", lambda: here)
    assert evaluate_run(copy)["examples"] == run.evaluated["examples"]
    assert asked == [compiled]


@pytest.mark.slow
def test_a_run_keeps_its_assessment(run: Run) -> None:
    assessed = json.loads(run.assessment.read_text())
    found = evaluate_run(run)
    assert found == assessed == json.loads(run.assessment.read_text())
    assert {name: found[name] for name in SUMMARY} == run.evaluated
    classes = found["classes"]
    recalls = [c["recall"] * c["support"] for c in classes]
    assert sum(recalls) / found["examples"] == pytest.approx(found["top1"])


def test_an_unfinished_run_gets_the_command_to_continue_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Run(Path(shutil.copytree(run.path, tmp_path / "run")))
    copy.model.unlink()
    monkeypatch.setattr(sys, "argv", ["evaluate", str(copy.path)])
    with pytest.raises(UsageError, match=r"must be complete, got .* --resume --out"):
        main()


PLACE, ROOM = "must be writable, got .*: ", "disk must have room for "


@pytest.mark.slow
@pytest.mark.parametrize(
    "command, number, message",
    [
        ("evaluate", errno.EACCES, f"{PLACE}Permission denied"),
        ("analysis", errno.EROFS, f"{PLACE}Read-only file system"),
        ("fit", errno.ENOSPC, ROOM),
    ],
)
def test_a_result_is_printed_before_it_is_stored(
    command: str,
    number: int,
    message: str,
    copied: Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a disk that is full or read-only, or in another user's run."""
    top1, path = copied.evaluated["top1"], str(copied.path)
    command_main, line, said = {
        "evaluate": (main, [path], f'"top1": {top1}'),
        "fit": (fit.main, ["--resume", "--out", path], f"test: top-1 {top1:.4f}, "),
        "analysis": (analyse, ["paths", path, "--samples", "1"], "carry 95 % of the"),
    }[command]
    if command == "fit":  # its last step is left
        copied.evaluation.unlink()

    def refuse(path: Path, *_: Any) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("training.evaluation.assessment.write_json", refuse)
    monkeypatch.setattr("training.storage.writing.write_json", refuse)
    monkeypatch.setattr(sys, "argv", ["command", *line])
    with pytest.raises(UsageError, match=message) as caught:
        command_main()
    assert "\n" not in str(caught.value)
    assert said in capsys.readouterr().out


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(run.path, tmp_path / "run")))


@pytest.mark.parametrize("classes", [100, 101])
def test_of_many_classes_the_lowest_are_printed(
    classes: int,
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And a file that is asked for has all."""
    labels = np.arange(classes).repeat(2)
    half, zero = np.full(len(labels), 0.5), np.zeros(len(labels))
    table = np.stack((labels, labels, half, zero, zero), -1).astype(float)
    table[14, 1] = 0  # an image of class 7
    data = dataset(len(labels), classes)
    split = pixels(np.zeros((len(labels), 1, 1, 1), np.uint8), labels)
    data = replace(data, splits={"val": split})
    found = assess(Predictions.from_table(table), data, "val")
    monkeypatch.setattr("training.evaluate._evaluate", lambda *_, **__: (found, False))
    out = tmp_path / "all.json"
    line = ["evaluate", str(run.path), "--split", "val", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", line)
    main()
    printed = json.loads(capsys.readouterr().out)
    assert json.loads(out.read_text()) == found
    assert {n: printed[n] for n in SUMMARY} == {n: found[n] for n in SUMMARY}
    if classes == 100:
        assert printed == found
        return
    assert printed["class_count"] == 101
    assert "confusion" not in printed and "classes" not in printed
    assert len(printed["lowest"]) == 20
    worst = {"label": "7", "support": 2, "recall": 0.5, "precision": 1.0}
    assert printed["lowest"][0] == worst


def test_a_file_that_cannot_be_written_is_reported_before_the_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.evaluate._evaluate", None)
    (tmp_path / "file").write_text("mine")
    line = ["evaluate", str(run.path), "--out", str(tmp_path / "file" / "all.json")]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(UsageError, match=r"output path must be writable, got .*all"):
        main()


@pytest.mark.slow
def test_averaging_over_views_is_printed_and_not_stored(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run.assessment.read_bytes(), run.evaluation.read_bytes()
    monkeypatch.setattr(sys, "argv", ["evaluate", str(run.path), "--tta"])
    main()
    said = json.loads(capsys.readouterr().out)
    assert len(said["views"]) == 5  # synthetic images are not mirrored
    assert said["examples"] == run.evaluated["examples"]
    assert (run.assessment.read_bytes(), run.evaluation.read_bytes()) == before


def test_a_class_without_examples_has_a_support_of_0() -> None:
    """Figures as scikit-learn has them of the classes that there are."""
    rng = np.random.default_rng(0)
    labels, predicted = rng.choice([0, 2, 3], 60), rng.integers(0, 4, 60)
    columns = (labels, predicted, np.full(60, 0.5), np.ones(60), labels == predicted)
    split = pixels(np.zeros((60, 1, 1, 1), np.uint8), labels)
    data = Dataset("made", {"test": split}, tuple("abcd"), 1, (1, 1), mirrors=False)
    table = np.stack(columns, -1).astype(float)
    found = assess(Predictions.from_table(table), data, "test")
    json.dumps(found, allow_nan=False)
    recalls = recall_score(labels, predicted, average=None, labels=[0, 2, 3])
    assert [c["recall"] for c in found["classes"]] == [
        *(pytest.approx(recalls[0]), None),
        *map(pytest.approx, recalls[1:]),
    ]
    assert found["classes"][1]["support"] == 0
    assert found["classes"][1]["precision"] == 0
    assert found["top1"] == pytest.approx(accuracy_score(labels, predicted))


def test_mistakes_name_their_files(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{i}.png") for i in range(2)]
    split = strings([b"", b""], [0, 1], origins=paths)
    data = Dataset("made", {"test": split}, ("cat", "dog"), 3, None, mirrors=True)
    values = [[0, 0, 0.9, 0.1, 1], [1, 0, 0.8, 1.6, 1]]
    found = assess(Predictions.from_table(np.array(values)), data, "test")
    assert found["mistakes"] == [
        {
            "index": 1,
            "path": paths[1],
            "label": "dog",
            "predicted": "cat",
            "probability": 0.8,
        }
    ]
