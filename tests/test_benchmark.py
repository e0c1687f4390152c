"""How fast artifacts are, told as a table, advice, a plot and JSON."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from export import onnx, tflite
from export.benchmark import Options, main
from export.benchmarking.candidates import (
    PLAIN,
    Candidate,
    find_candidates,
    plain_exports,
    source_runs,
)
from export.benchmarking.measurement import Measurement, measure, summarise
from export.benchmarking.report import advice, describe, write
from export.load import Artifact
from export.metadata import manifest
from keras_resnet import command
from keras_resnet.errors import Stopped, UsageError
from training.runs.run import Run

FACTS = {"version": "1.0", "device": "CPU", "shape": [8, 8, 1]}
BASE = Measurement(
    PLAIN, "SavedModel", "tensorflow 1.0", "CPU", 2**20, 0.9, 0.02, 0.03, 16, 100.0
)
MEASURED = [
    BASE,
    replace(BASE, name="saved", latency=0.01, throughput=300.0),
    replace(
        BASE, name="a.tflite", format="TFLite", runtime="litert 1.0", latency=0.005
    ),
]


def test_figures_are_medians_and_the_best_batch(tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(b"12345")
    candidate = Candidate("model", Artifact(file, "TFLite"), "litert", 0.5)
    single = [0.01] * 98 + [0.02, 5.0]
    found = summarise(
        candidate, FACTS, single, {1: [0.01], 4: [0.02, 0.01, 9.0], 8: [0.08]}
    )
    assert (found.latency, found.batch, found.throughput) == (0.01, 4, 200)
    assert 0.02 <= found.latency99 < 5
    assert (found.runtime, found.size, found.device) == ("litert 1.0", 5, "CPU")


def test_a_table_tells_times_of_the_plain_export() -> None:
    lines = describe(MEASURED).splitlines()
    table = [line.split("  ") for line in lines if line.startswith(("saved", "a.tfl"))]
    assert [row[-1].strip() for row in table] == ["2.00", "4.00"]
    without = describe(MEASURED[1:]).splitlines()
    assert next(x for x in without if x.startswith("saved")).endswith("  -")


def test_advice_is_what_was_measured() -> None:
    cpu, gpu, phone = advice(MEASURED)
    assert cpu == (
        "CPU: a.tflite in litert 1.0 (top-1 0.9000), 5.00 ms per image; in batches: "
        "saved in tensorflow 1.0 (top-1 0.9000), 300.0 images/s"
    )
    assert gpu.endswith("none was measured on a GPU here")
    assert phone.startswith("phone: a.tflite in litert 1.0 (top-1 0.9000), 5.00 ms")
    on_gpu = replace(MEASURED[1], device="GPU", accuracy=None)
    cpu, gpu, phone = advice([BASE, on_gpu])
    assert (cpu, phone) == (
        "CPU: none was measured",
        "phone: a .tflite file, int8; none was measured",
    )
    assert gpu == "GPU: saved in tensorflow 1.0, 10.00 ms per image, 300.0 images/s"
    elsewhere = replace(MEASURED[2], runtime="openvino 1.0", latency=0.001)
    assert advice([*MEASURED, elsewhere])[2].startswith("phone: a.tflite in litert")


@pytest.mark.slow
def test_files_are_written(tmp_path: Path) -> None:
    write(MEASURED, tmp_path / "out")
    values = json.loads((tmp_path / "out/benchmark.json").read_text())
    assert [m["name"] for m in values["measurements"]] == [m.name for m in MEASURED]
    assert values["hardware"]
    assert (tmp_path / "out/benchmark.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in (tmp_path / "out/benchmark.svg").read_text()


@pytest.mark.slow
def test_the_plain_export_runs_as_the_user_has_it(run: Run) -> None:
    with plain_exports((run.path,), {"NAME": "value"}) as (candidate,):
        assert (candidate.name, candidate.runtime) == (PLAIN, "tensorflow")
        assert candidate.environment == {"NAME": "value"}
        assert candidate.accuracy == run.evaluated["top1"]


@pytest.mark.slow
def test_artifacts_are_measured_beside_the_plain_export(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lite, other = tmp_path / "model.tflite", tmp_path / "model.onnx"
    tflite.export(run, lite)
    onnx.export(run, other)
    found = find_candidates((lite, other), ())
    names = [(c.name, c.runtime) for c in found]
    assert names == [
        (str(lite), "litert"),
        (str(lite), "openvino"),
        (str(other), "onnxruntime"),
        (str(other), "openvino"),
    ]
    assert found[2].accuracy == run.evaluated["top1"]
    assert source_runs(found) == (run.path,)
    arguments = [lite, other, "--rounds", 3, "--batches", 1, 2, "--out", tmp_path / "o"]
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
    command.run(main)
    assert "\nCPU: " in capsys.readouterr().out
    values = json.loads((tmp_path / "o/benchmark.json").read_text())["measurements"]
    assert [m["name"] for m in values] == [PLAIN, *(name for name, _ in names)]
    for m in values:
        assert 0 < m["latency"] <= m["latency99"]
        assert m["batch"] in (1, 2) and m["throughput"] > 0


RUN = {"evaluation": {"top1": 0.9}}


@pytest.mark.parametrize(
    ("facts", "accuracy"),
    [
        ({"run": RUN}, 0.9),
        ({"run": RUN, "compute": "float32", "quantize": "none"}, 0.9),
        ({"run": RUN, "compute": "bf16"}, None),
        ({"run": RUN, "quantize": "int8"}, None),
        ({"run": RUN, "quantize": "int8", "accuracy": {"after": 0.8}}, 0.8),
        ({"run": RUN, "accuracy": {"after": 0.0}}, 0.0),
        ({}, None),
    ],
)
def test_an_accuracy_is_the_artifacts_own(
    facts: dict[str, Any], accuracy: float | None, tmp_path: Path
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"a model")
    manifest.write(path, facts)
    (candidate,) = find_candidates((path,), ("litert",))
    assert candidate.accuracy == accuracy


def test_what_cannot_run_is_told(tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(b"nonsense")
    with pytest.raises(Stopped, match=r"artifact must run in litert, but .* failed: "):
        measure(find_candidates((file,), ("litert",)), (1,), 1)
    assert source_runs(find_candidates((file,), ("litert",))) == ()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "artifacts"),
        (["nothing.onnx"], "artifact must be a SavedModel folder"),
        (["{model}", "--rounds", "0"], "rounds must be at least 1, got 0"),
        (["{model}", "--batches", "0"], "batches must be at least 1, got (0,)"),
        (["{model}", "--runtimes", "c-api"], "runtime must be one of tensorflow"),
        (["{model}", "--runtimes", "tensorflow"], "must be one of litert, openvino"),
        (["{model}", "--run", "nothing"], "run folder must hold a config.json"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(b"a model")
    given = [a.format(model=model) for a in arguments]
    monkeypatch.setattr(sys, "argv", ["benchmark", *given])
    with pytest.raises(SystemExit) as stop:
        command.run(main)
    printed = capsys.readouterr()
    assert (stop.value.code, printed.out) == (2, "")
    assert printed.err.count("\n") == 1 and said in printed.err


def test_options_are_checked() -> None:
    with pytest.raises(UsageError, match="artifacts must name at least one path"):
        Options(())
