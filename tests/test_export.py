"""What is served is what was trained, in a process that knows nothing of training."""

import json
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest
import tensorflow as tf
from conftest import TINY
from exported import EXPORTERS, Artifacts
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from export import worker
from export.load import KINDS, find
from export.metadata import manifest
from export.metadata.description import Description, read
from export.runtimes import RUNTIMES, Runtime, readers
from export.verification.compare import (
    COMPARED,
    Difference,
    Tolerances,
    compare,
    tolerance,
)
from export.verification.verify import _keep
from export.verify import main, verify
from keras_resnet import command, load_model
from keras_resnet.errors import Stopped, UsageError
from training.experiment.train import train
from training.runs.run import Run

FORMATS = [name for name in EXPORTERS if not name.startswith("SavedModel ")]
# Formats of fewer bits: by how much a probability of this small network may differ.
ROUNDED = {"TFLite float16": 0.01, "TFLite dynamic": 0.1, "TFLite int8": 0.2}
PAIRS = [
    (name, runtime)
    for name in FORMATS
    for runtime in readers(name.split(maxsplit=1)[0])
]
# Each runtime has a process of its own for the first format that it reads.
APART = {runtime: name for name, runtime in reversed(PAIRS)}


class WorkerHere:
    """Does what ``export.worker`` does, within the process of the tests."""

    facts: ClassVar = {"version": "", "stays": False}

    def __init__(self, artifact: Path, runtime: str) -> None:
        self._session = RUNTIMES[runtime].open(artifact)
        self._runtime = runtime

    def request(self, classify: str) -> dict[str, Any]:
        return worker._classify(self._session, self._runtime, Path(classify))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends nothing."""


@pytest.fixture(scope="module")
def results(artifacts: Artifacts, run: Run) -> dict[str, dict[str, Any]]:
    """What ``verify`` finds in every runtime."""
    found = {}
    for name in FORMATS:
        runtimes = tuple(readers(name.split(maxsplit=1)[0]))

        def start(artifact: Path, runtime: str, name: str = name) -> Any:
            kind = worker.Worker if APART[runtime] == name else WorkerHere
            return kind(artifact, runtime)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("export.verification.verify.Worker", start)
            found[name] = verify(artifacts[name], run, runtimes=runtimes, max_drop=100)
    return found


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a small ResNeXt."""
    run = Run(tmp_path_factory.mktemp("grouped"))
    sizes = ("depths=(1,1)", "cardinality=4", "group_width=4")
    train(replace(TINY, model="resnext29_8x64d_cifar", overrides=sizes), run)
    return run


@pytest.mark.slow
@pytest.mark.parametrize(("name", "runtime"), PAIRS)
def test_every_format_is_the_same_network_in_every_runtime(
    name: str, runtime: str, results: dict[str, dict[str, Any]], run: Run
) -> None:
    result = results[name]
    assert result["format"] == name.split(maxsplit=1)[0]
    answer = result["runtimes"][runtime]
    if APART[runtime] == name:
        assert answer["imported"] == [], "the loader must know nothing of this project"
        # The C library's program loads the folder anew for each call.
        assert ("latency" in answer) == (runtime != "c-api")
        assert answer.get("latency", 1.0) > 0
    for inputs in filter(answer.__contains__, COMPARED):
        difference = answer[inputs]
        assert difference["images"] == run.evaluated["examples"]
        assert difference["largest"] <= ROUNDED.get(name, tolerance(runtime))
        if name not in ROUNDED:
            assert difference["agreement"] == 1
            # As JPEG files, images of noise are others.
            if inputs != "bytes":
                assert difference["accuracy"] == pytest.approx(run.evaluated["top1"])
    assert ("bytes" in answer) == (runtime in ("tensorflow", "c-api"))
    assert ("features" in answer) == (runtime == "tensorflow")


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_comes_with_its_facts(
    name: str,
    artifacts: Artifacts,
    results: dict[str, dict[str, Any]],
    run: Run,
) -> None:
    artifact = find(artifacts[name])
    assert read(artifact) == Description.of_run(run.config)
    manifest.check(artifact.path)
    assert manifest.read(artifact.path)["format"] == artifact.kind
    result = results[name]
    assert run.artifacts[str(artifact.path)] == result
    assert result["size"] == artifact.size
    first = next(iter(result["runtimes"].values()))
    assert {name: result[name] for name in first} == first
    assert result["same"] or name in ROUNDED


@pytest.mark.slow
def test_int8_takes_raw_pixels(artifacts: Artifacts) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(artifacts["TFLite int8"]))
    interpreter.allocate_tensors()
    (image,), (output,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    assert (image["dtype"], image["quantization"]) == (np.uint8, (1.0, 0))
    assert output["dtype"] == np.float32
    kernels = [t for t in interpreter.get_tensor_details() if len(t["shape"]) == 4]
    per_channel = [t["quantization_parameters"]["scales"].size for t in kernels]
    assert max(per_channel) > 1


@pytest.mark.slow
def test_signatures_are_the_interface(artifacts: Artifacts, run: Run) -> None:
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


@pytest.mark.slow
def test_files_of_any_format_and_size(artifacts: Artifacts, run: Run) -> None:
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


@pytest.fixture
def _in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.verification.verify.Worker", WorkerHere)


@pytest.mark.slow
@pytest.mark.usefixtures("_in_process")
def test_a_slightly_different_network_is_found_out(
    artifacts: Artifacts, run: Run, tmp_path: Path
) -> None:
    other = Run(shutil.copytree(run.path, tmp_path / "run"))
    model = load_model(other.model)
    model.get_layer("logits").bias.assign_add([0.1, 0.0, 0.0])
    model.save(other.model)
    artifact = artifacts["SavedModel"]
    assert not verify(artifact, other, runtimes=("tensorflow",))["same"]


@pytest.mark.slow
@pytest.mark.usefixtures("_in_process")
@pytest.mark.parametrize("missing", ["classify_bytes", "features"])
def test_a_signature_that_lacks_is_found_out(
    missing: str, artifacts: Artifacts, run: Run, tmp_path: Path
) -> None:
    artifact = shutil.copytree(artifacts["SavedModel"], tmp_path / "1")
    graph = artifact / "saved_model.pb"
    saved = SavedModel.FromString(graph.read_bytes())
    (meta_graph,) = saved.meta_graphs
    del meta_graph.signature_def[missing]
    nodes = meta_graph.object_graph_def.nodes
    (at,) = (x.node_id for x in nodes[0].children if x.local_name == "signatures")
    (child,) = (x for x in nodes[at].children if x.local_name == missing)
    nodes[at].children.remove(child)
    graph.write_bytes(saved.SerializeToString())
    manifest.write(artifact, manifest.read(artifact))
    with pytest.raises(Stopped, match="not the same network: artifact must return"):
        verify(artifact, run, runtimes=("tensorflow",))


@pytest.mark.slow
@pytest.mark.usefixtures("_in_process")
def test_wrong_features_are_found_out(
    artifacts: Artifacts, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = RUNTIMES["tensorflow"].open(artifacts["SavedModel"])
    right = opened.features
    assert right is not None
    wrong = replace(opened, features=lambda images: 1.1 * right(images))
    monkeypatch.setattr(Runtime, "open", lambda self, path: wrong)
    result = verify(artifacts["SavedModel"], run, runtimes=("tensorflow",))
    assert not result["same"]
    assert result["pixels"]["largest"] < 1e-5 < result["features"]["largest"]


@pytest.mark.slow
@pytest.mark.usefixtures("_in_process")
def test_another_network_is_found_out(
    artifacts: Artifacts,
    other_run: Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = ["verify", str(artifacts["TFLite"]), str(other_run.path)]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # which the command sets
    with pytest.raises(SystemExit) as stop:
        command.run(main)
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("error: not the same network")
    assert not other_run.artifacts[str(artifacts["TFLite"])]["same"]


def test_compare_refuses_other_shapes_and_no_numbers() -> None:
    ours, labels = np.eye(3), np.arange(3)
    same = compare(ours, ours, labels)
    assert (same.accuracy, same.drop, same.agreement, same.largest) == (1, 0, 1, 0)
    other = compare(ours, ours[[0, 1, 1]], labels)
    assert other.drop == pytest.approx(100 / 3)
    assert (other.largest, other.agreement) == (1, pytest.approx(2 / 3))
    with pytest.raises(Stopped, match=r"must have shape \(3, 3\), got \(3, 2\)"):
        compare(ours, ours[:, :2], labels)
    with pytest.raises(Stopped, match="must be finite"):
        compare(ours, ours * np.nan, labels)


@pytest.mark.parametrize(
    ("runtime", "largest", "agreement", "drop", "exact", "rounded"),
    [
        ("tensorflow", 9e-6, 1.0, 0.0, True, True),
        ("tensorflow", 2e-5, 1.0, 0.0, False, True),
        ("litert", 2e-5, 1.0, 0.0, True, True),
        ("a new runtime", 2e-5, 1.0, 0.0, True, True),
        ("a new runtime", 2e-4, 1.0, 0.0, False, True),
        ("litert", 0.5, 0.96, 0.9, False, True),
        ("litert", 0.5, 0.94, 0.0, False, False),
        ("litert", 0.5, 1.0, 1.1, False, False),
    ],
)
def test_tolerances(
    runtime: str,
    largest: float,
    agreement: float,
    drop: float,
    exact: bool,
    rounded: bool,
) -> None:
    difference = Difference(100, largest, 0.0, agreement, 0.9, drop)
    assert Tolerances(rounded=False).allow(runtime, difference) == exact
    assert Tolerances(rounded=True).allow(runtime, difference) == rounded


def test_tolerances_are_told() -> None:
    exact = Tolerances(rounded=False)
    assert exact.describe(["tensorflow", "c-api"]) == "1e-05"
    assert exact.describe(["tensorflow", "openvino"]) == (
        "1e-05 in tensorflow, 0.0001 in openvino"
    )
    assert exact.describe(["a new runtime"]) == "0.0001"
    said = Tolerances(rounded=True, max_drop=2).describe(["litert"])
    assert said == "agreement 95%, 2 points of accuracy"


@pytest.mark.parametrize("spoil", ["not writable", "not readable"])
def test_what_cannot_be_kept_does_not_change_the_answer(
    spoil: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "artifacts.json"
    if spoil == "not readable":
        kept.write_text("{")
    else:
        kept.mkdir()
    _keep({"path": "model.tflite", "same": True}, Run(tmp_path))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: not stored in the run's folder: ")


def described(file: Path, about: Description) -> None:
    """Writes a .tflite that is no network, but comes with its labels."""
    file.write_bytes(b"no network")
    with zipfile.ZipFile(file, "a") as archive:
        for name, text in about.files().items():
            archive.writestr(name, text)
    manifest.write(file, {})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"labels": ("class1", "class0", "class2")}, "labels must be"),
        (
            {"labels": ("class0", "class1", "class2", "class3")},
            "labels must be the run's, ",
        ),
        (
            {"size": (8, 12), "crop": 0.5},
            r"size must be the run's, \(12, 8\), got \(8, 12\) and crop must be",
        ),
    ],
)
def test_what_is_described_must_be_the_runs(
    change: dict[str, Any], named: str, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "model.tflite"
    described(file, replace(Description.of_run(run.config), **change))
    with pytest.raises(Stopped, match=f"not the same network: {named}"):
        verify(file, run)


@pytest.mark.parametrize("name", ["SavedModel", "TFLite", "ONNX"])
@pytest.mark.parametrize("label", ["two\nlines", "old\rMac"])
def test_a_label_of_two_lines_is_not_exported(
    name: str, label: str, run: Run, tmp_path: Path
) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    spoiled = Run(tmp_path / "run")
    config = spoiled.config
    config["dataset"]["labels"][1] = label
    (spoiled.path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"labels must not contain line breaks.*got '"):
        EXPORTERS[name](Run(spoiled.path), tmp_path / "out")
    assert not [path for path in tmp_path.rglob("*") if path.suffix in KINDS]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_is_no_artifact_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="artifact must be a SavedModel"):
        verify(tmp_path, run)
    file = tmp_path / "model.tflite"
    file.write_bytes(b"nonsense")
    with pytest.raises(Stopped, match="not loaded: artifact must have a manifest"):
        verify(file, run)
    with pytest.raises(UsageError, match="runtime for TFLite must be one of"):
        verify(file, run, runtimes=("tensorflow",))
    manifest.write(file, {})
    with pytest.raises(Stopped, match="not loaded: artifact must contain its labels"):
        verify(file, run)
    described(file, Description.of_run(run.config))
    with pytest.raises(Stopped, match="artifact must load in litert, got: "):
        verify(file, run, runtimes=("litert",))
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"nonsense")
    manifest.write(tmp_path / "1", {})
    with pytest.raises(Stopped, match="not loaded: SavedModel must hold a graph"):
        verify(tmp_path, run)


@pytest.mark.slow
@pytest.mark.usefixtures("_in_process")
@pytest.mark.parametrize("name", [n for n in FORMATS if n != "TFLite float16"])
def test_grouped_convolutions_survive_every_format(
    name: str, grouped: Run, tmp_path: Path
) -> None:
    path = EXPORTERS[name](grouped, tmp_path)
    # The C library has the kernels of TensorFlow, in a process for each call.
    runtimes = tuple(r for r in readers(name.split(maxsplit=1)[0]) if r != "c-api")
    for runtime, answer in verify(path, grouped, runtimes=runtimes)["runtimes"].items():
        limit = ROUNDED.get(name, tolerance(runtime))
        assert answer["pixels"]["largest"] <= limit, runtime
