"""Every command that loads artifacts checks them first, in one place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from export.benchmarking.candidates import find_candidates
from export.load import Artifact
from export.metadata import manifest
from export.prediction.classifier import load_classifier
from export.verification.safety_checks import require_safe
from export.verify import verify
from keras_resnet.errors import Stopped
from training.runs.run import Run


class Writer(tf.Module):
    """A network that leaves a file when it is called."""

    def __init__(self, written: Path) -> None:
        super().__init__()
        self.written = str(written)

    @tf.function(input_signature=[tf.TensorSpec((None, 12, 8, 3), tf.float32)])
    def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.io.write_file(self.written, "x")
        return {"probabilities": tf.reduce_mean(image, (1, 2))}


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("writer") / "1"
    module = Writer(path.parent / "written")
    tf.saved_model.save(module, str(path), {"serving_default": module.serve})
    manifest.write(path, {})
    return path


COMMANDS: dict[str, Callable[[Path, Run], Any]] = {
    "verify": verify,
    "predict": lambda path, _: load_classifier(path),
    "benchmark": lambda path, _: find_candidates((path,), ()),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_writes_files_is_not_loaded(name: str, writer: Path, run: Run) -> None:
    with pytest.raises(Stopped, match=r"not loaded: .*only compute, got .*WriteFile"):
        COMMANDS[name](writer, run)
    assert not (writer.parent / "written").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_what_was_changed_is_not_loaded(name: str, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"one")
    manifest.write(path, {})
    path.write_bytes(b"two")
    with pytest.raises(Stopped, match=r"not loaded: model.tflite of .*as exported"):
        COMMANDS[name](path, run)


def test_only_a_proof_needs_a_manifest(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"one")
    artifact = Artifact(path, "TFLite")
    assert require_safe(artifact) == {}
    with pytest.raises(Stopped, match="not loaded: artifact must have a manifest"):
        require_safe(artifact, manifest_needed=True)
    manifest.write(path, {"format": "TFLite"})
    assert require_safe(artifact)["format"] == "TFLite"
