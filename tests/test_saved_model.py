"""What is served: complete or absent, small, described, and nothing but the network."""

import shutil
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from backends import NETWORKS, SMALL
from conftest import TINY
from exported import Artifacts
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from test_folding import lively

from export import saved_model
from export.formats.warmup import FILE
from export.graph import serving
from export.graph.options import GraphOptions
from export.graph.serving import Serving
from export.metadata import manifest
from export.verification import safety
from keras_resnet.errors import UsageError
from keras_resnet.layers import leaf_layers
from training.runs.run import Run

pytestmark = pytest.mark.slow

Signatures = dict[str, Any]
# What training makes, and what only one kind of server runs.
UNWANTED = {"VarHandleOp", "ReadVariableOp", "VariableV2", "RandomUniform", "PyFunc"}
FORMS = {
    "SavedModel": GraphOptions(),
    "SavedModel with variables": GraphOptions(freeze=False),
    "SavedModel bf16": GraphOptions(compute="bf16"),
    "SavedModel bf16 with variables": GraphOptions(compute="bf16", freeze=False),
}


@pytest.fixture(scope="module")
def folders(artifacts: Artifacts) -> dict[str, Path]:
    return {name: artifacts[name] for name in FORMS}


def signatures(folder: Path) -> Signatures:
    loaded = tf.saved_model.load(str(folder))
    found = dict(loaded.signatures)
    found["serving_default"].owner = loaded  # whose variables it uses
    return found


def pixels(count: int) -> tf.Tensor:
    rng = np.random.default_rng(0)
    return tf.constant(rng.uniform(0, 255, (count, 12, 8, 3)), tf.float32)


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_the_same_network(
    name: str, folders: dict[str, Path], run: Run
) -> None:
    found = signatures(folders[name])
    model = serving.serving_model(run)
    preprocessing = serving.Preprocessing.from_dict(run.config["preprocessing"])
    exact = 1e-5 if FORMS[name].compute == "float32" else 0.02
    for count in (1, 3):
        x = preprocessing.normalise(pixels(count))
        probabilities = tf.nn.softmax(model(x, training=False))
        answer = found["serving_default"](image=pixels(count))["probabilities"]
        assert answer.dtype == tf.float32
        np.testing.assert_allclose(answer, probabilities, atol=exact)
        features = found["features"](image=pixels(count))["features"]
        assert (features.dtype, features.shape) == (tf.float32, (count, 64))
        logits = model.get_layer("logits")(features)
        np.testing.assert_allclose(tf.nn.softmax(logits), probabilities, atol=exact)


def constants(file: Path) -> int:
    """Bytes of all constants of a graph and its functions."""
    (meta_graph,) = SavedModel.FromString(file.read_bytes()).meta_graphs
    graph = meta_graph.graph_def
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    nodes = (node for body in bodies for node in body if node.op == "Const")
    return sum(node.attr["value"].tensor.ByteSize() for node in nodes)


def test_frozen_has_no_variables_and_each_weight_once(
    folders: dict[str, Path], run: Run
) -> None:
    frozen, half = (
        folders[name] / "saved_model.pb" for name in ("SavedModel", "SavedModel bf16")
    )
    weights = 4 * run.config["model"]["params"]
    assert not signatures(folders["SavedModel"])["serving_default"].variables
    assert weights < constants(frozen) < 1.2 * weights
    assert frozen.stat().st_size - half.stat().st_size > 0.4 * weights
    found = signatures(folders["SavedModel with variables"])
    assert found["serving_default"].variables


@pytest.mark.parametrize("name", FORMS)
def test_nothing_but_computes(name: str, folders: dict[str, Path]) -> None:
    assert safety.flagged(folders[name]) == []


class Untrained:
    """As much of a run as the graph is made from."""

    config: dict[str, Any]

    def __init__(self, shape: tuple[int, ...]) -> None:
        zeros, ones = [0.0] * shape[-1], [1.0] * shape[-1]
        self.config = {
            "preprocessing": {
                **{"size": list(shape[:2]), "channels": shape[-1], "crop": 1.0},
                **{"mean": zeros, "deviation": ones},
            },
            "dataset": {"labels": list("abcde")},
        }


@cache
def network(name: str) -> keras.Model:
    return lively(name, **SMALL | NETWORKS[name])


@pytest.mark.parametrize("compute", ["float32", "bf16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_operation_of_training_in_any_family(
    name: str, compute: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**SMALL, **NETWORKS[name]}
    model = network(name)
    monkeypatch.setattr(serving, "serving_model", lambda run: model)
    labels = tmp_path / "labels.txt"
    labels.write_text("")
    run: Any = Untrained(options["input_shape"])
    graph = Serving(run, labels, GraphOptions(compute=compute))
    # The third signature only adds the decoder, which is the same for all.
    for function in (graph.classify, graph.features):
        definition = function.get_concrete_function().graph.as_graph_def()
        assert_inference_only(definition)
        # Grouped convolutions are one operation each.
        nodes = [n for f in definition.library.function for n in f.node_def]
        found = Counter(node.op for node in nodes)
        expected = Counter(type(x).__name__ for x in leaf_layers(model))
        convolutions = ("Conv2D", "GroupedConv2D", "TableConv2D")
        normalising = expected["LocalResponseNormalization"]
        assert found["Conv2D"] == sum(expected[c] for c in convolutions) + normalising


def assert_inference_only(graph: Any) -> None:
    functions = list(graph.library.function)
    nodes = [*graph.node, *(node for f in functions for node in f.node_def)]
    types = {node.op for node in nodes}
    assert not types & UNWANTED
    assert not [t for t in types if "Grad" in t or "Random" in t or "Apply" in t]
    batch_norms = [node for node in nodes if node.op == "FusedBatchNormV3"]
    assert not any(node.attr["is_training"].b for node in batch_norms)
    attributes = {a for x in [*functions, *nodes] for a in x.attr}
    assert "_XlaMustCompile" not in attributes


SHORT = replace(TINY, epochs=1, overrides=("depths=(1,1)",))


@pytest.mark.parametrize(
    "recipe",
    [
        replace(SHORT, precision="bfloat16"),
        replace(SHORT, model="resnet110_sd_cifar"),
    ],
    ids=["mixed precision", "stochastic depth"],
)
def test_runs_with_operations_of_training_export_without(
    recipe: Any, tmp_path: Path
) -> None:
    from training.experiment.train import train

    run = Run(tmp_path / "run")
    train(recipe, run)
    folder = saved_model.export(run, tmp_path / "out")
    assert safety.flagged(folder) == []
    found = signatures(folder)
    assert found.keys() == {"serving_default", "features", "classify_bytes"}
    for function in found.values():
        assert_inference_only(function.graph.as_graph_def())
    model = serving.serving_model(run)
    preprocessing = serving.Preprocessing.from_dict(run.config["preprocessing"])
    expected = tf.nn.softmax(model(preprocessing.normalise(pixels(4)), training=False))
    answer = found["serving_default"](image=pixels(4))["probabilities"]
    np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_warm_up_requests_are_answered(folders: dict[str, Path], run: Run) -> None:
    found = signatures(folders["SavedModel"])
    asked = []
    for record in tf.data.TFRecordDataset(str(folders["SavedModel"] / FILE)):
        request = PredictionLog.FromString(record.numpy()).predict_log.request
        assert request.model_spec.name == run.recipe.model
        inputs = {n: tf.make_ndarray(p) for n, p in request.inputs.items()}
        found[request.model_spec.signature_name](
            **{name: tf.constant(value) for name, value in inputs.items()}
        )
        asked.append(request.model_spec.signature_name)
    assert asked == ["serving_default", "features", "classify_bytes"]


def test_manifest(folders: dict[str, Path], run: Run) -> None:
    for name, folder in folders.items():
        manifest.check(folder)
        found = manifest.read(folder)
        assert found["format"] == "SavedModel"
        form = FORMS[name]
        assert found["compute"] == form.compute
        assert (found["frozen"], found["folded"]) == (form.freeze, form.folded)
        assert found["max_pixels"] == form.max_pixels
        assert found["run"]["evaluation"] == run.evaluated
        by_bytes = found["signatures"]["classify_bytes"]
        assert by_bytes["inputs"]["image_bytes"]["type"] == "string"
        assert by_bytes["outputs"]["probabilities"]["shape"] == [None, 3]
        assert (
            found["signatures"]["features"]["outputs"]["features"]["shape"][0] is None
        )
        assert {"saved_model.pb", "assets/labels.txt"} < set(found["files"])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [({"keep": -1}, "keep must be at least 0"), ({"max_pixels": 0}, "max_pixels must")],
)
def test_impossible_options(options: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        saved_model.Options(run=Path("run"), out=Path("out"), **options)


def test_a_run_that_cannot_be_read_is_no_mistake_of_the_output(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(run: Run) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "model.keras"))

    monkeypatch.setattr(serving, "serving_model", unreadable)
    with pytest.raises(PermissionError, match=r"model\.keras"):
        saved_model.export(run, tmp_path / "versions")
    assert list(tmp_path.iterdir()) == []


def test_command_replaces_and_prunes(
    run: Run,
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "versions"
    for number, name in ("1", "SavedModel"), ("2", "SavedModel with variables"):
        shutil.copytree(folders[name], out / number)
    line = ["saved_model", str(run.path), "--out", str(out), "--overwrite"]
    monkeypatch.setattr("sys.argv", [*line, "--compute", "bf16", "--no-freeze"])
    saved_model.main()
    assert names(out) == ["1", "2"]
    written = manifest.read(out / "2")
    assert (written["compute"], written["frozen"]) == ("bf16", False)
    monkeypatch.setattr("sys.argv", [*line[:4], "--keep", "1", "--max-pixels", "10"])
    saved_model.main()
    assert names(out) == ["3"]
    said = capsys.readouterr().out.splitlines()
    assert said[-3:] == [
        f"SavedModel: {out}/3",
        f"removed: {out}/1",
        f"removed: {out}/2",
    ]
    answer = signatures(out / "3")["classify_bytes"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="of at most 10 pixels"):
        answer(image_bytes=tf.io.encode_png(np.zeros((4, 3, 3), np.uint8))[tf.newaxis])
