"""What is served is what was trained, in a process that knows nothing of training."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from export import saved_model, serving, tflite
from export.load import newest_version
from export.verify import TOLERANCES, compare, main, verify
from keras_resnet import command
from keras_resnet.errors import Stopped, UsageError
from training.runs import Run

EXPORTERS = {
    "SavedModel": lambda run, folder: saved_model.export(run, folder / "versions"),
    "TFLite": lambda run, folder: tflite.export(run, folder / "model.tflite"),
}


@pytest.fixture(scope="module")
def artifacts(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("artifacts")
    return {name: export(run, folder) for name, export in EXPORTERS.items()}


@pytest.mark.parametrize("name", EXPORTERS)
def test_every_format_is_the_same_network(
    name: str, artifacts: dict[str, Path], run: Run
) -> None:
    result = verify(artifacts[name], run)
    assert result["same"] and result["format"] == name
    assert result["imported"] == [], "the loader must know nothing of this project"
    for inputs in {"pixels", "bytes"} & set(result):
        difference = result[inputs]
        assert difference["images"] == run.evaluated["examples"]
        assert difference["largest"] <= TOLERANCES[name]
        assert difference["agreement"] == 1
        assert difference["accuracy"] == pytest.approx(run.evaluated["top1"])
    assert "bytes" in result or name == "TFLite"
    assert run.artifacts[str(artifacts[name])] == result


def test_signatures_are_the_interface(artifacts: dict[str, Path], run: Run) -> None:
    loaded = tf.saved_model.load(str(artifacts["SavedModel"]))
    default = loaded.signatures["serving_default"]
    by_bytes = loaded.signatures["classify_bytes"]
    image = default.structured_input_signature[1]["image"]
    assert (image.dtype, image.shape.as_list()) == (tf.float32, [None, 12, 8, 3])
    assert set(default.structured_outputs) == {"probabilities"}
    assert by_bytes.structured_input_signature[1]["image_bytes"].dtype == tf.string
    outputs = by_bytes.structured_outputs
    assert {name: spec.dtype for name, spec in outputs.items()} == {
        "probabilities": tf.float32,
        "class_id": tf.int64,
        "label": tf.string,
    }
    labels = artifacts["SavedModel"] / "assets" / "labels.txt"
    assert labels.read_text().split() == run.config["dataset"]["labels"]


def test_files_of_any_format_and_size(artifacts: dict[str, Path], run: Run) -> None:
    loaded = tf.saved_model.load(str(artifacts["SavedModel"]))
    rng = np.random.default_rng(0)
    large = rng.integers(0, 256, (60, 40, 3), np.uint8)
    files = [
        tf.io.encode_png(large),
        tf.io.encode_jpeg(large, quality=95),
        tf.io.encode_png(large[:5, :7]),
    ]
    answer = loaded.signatures["classify_bytes"](image_bytes=tf.stack(files))
    probabilities = answer["probabilities"].numpy()
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(answer["class_id"], probabilities.argmax(-1))
    labels = np.array(run.config["dataset"]["labels"])
    assert [x.decode() for x in answer["label"].numpy()] == list(
        labels[probabilities.argmax(-1)]
    )


@pytest.mark.slow
def test_versions_count_up_and_drafts_vanish(run: Run, tmp_path: Path) -> None:
    assert newest_version(tmp_path) is None
    assert [saved_model.export(run, tmp_path).name for _ in range(2)] == ["1", "2"]
    assert newest_version(tmp_path) == tmp_path / "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


@pytest.mark.slow
def test_a_wrong_export_is_found_out(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = serving.serving_model

    def wrong(run: Run) -> keras.Model:
        model = build(run)
        model.get_layer("logits").bias.assign([0.1, 0.0, 0.0])
        return model

    monkeypatch.setattr(serving, "serving_model", wrong)
    assert not verify(saved_model.export(run, tmp_path), run)["same"]


@pytest.mark.slow
def test_another_network_is_found_out(
    artifacts: dict[str, Path],
    other_run: Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not verify(artifacts["TFLite"], other_run)["same"]
    arguments = ["verify", str(artifacts["TFLite"]), str(other_run.path)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as stop:
        command.run(main)
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("error: not the same network")


def test_compare_refuses_other_shapes_and_no_numbers() -> None:
    ours, labels = np.eye(3), np.arange(3)
    assert compare(ours, ours, labels).accuracy == 1
    with pytest.raises(Stopped, match=r"must be \(3, 3\), got \(3, 2\)"):
        compare(ours, ours[:, :2], labels)
    with pytest.raises(Stopped, match="not finite"):
        compare(ours, ours * np.nan, labels)


def test_what_is_no_artifact_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"nonsense")
    for path in (tmp_path, tmp_path / "model.tflite"):
        with pytest.raises(UsageError, match="artifact must load"):
            verify(path, run)
