"""Sweeps from the command line: results, resuming, failures, workers, the best."""

import csv
import io
import json
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras_tuner
import pytest
from in_process import run_sweep
from rich.console import Console

from keras_resnet.catalogue import find_spec
from keras_resnet.errors import Stopped, UsageError
from keras_resnet.families.resnet import ResNetSpec
from training.distributed.launch import free_ports
from training.evaluate import main as evaluate
from training.recipes.recipe import Recipe
from training.runs.run import Run
from training.storage.lock import exclusive_lock
from training.sweep import check_chief_address
from training.sweeps.display import Display
from training.sweeps.folder import Sweep
from training.sweeps.hypermodel import ResNetHyperModel
from training.sweeps.options import Search, read_options
from training.sweeps.oracles import Grid
from training.sweeps.pictures import pareto
from training.sweeps.planning import make_plan
from training.sweeps.report import command_line
from training.sweeps.results import best_of, rows_of
from training.sweeps.search import plan_of, require_result, settings_of
from training.sweeps.trials import ProcessTuner

TINY = [
    *("--overrides", "depths=(1,1,1)", "--dataset", "synthetic:12x8x3:3:60"),
    *("--epochs", "2", "--batch-size", "16"),
]
WIDER = "width-depth-cardinality"
RATES = ["--space", "learning_rate=0.02,0.1"]

# keras-tuner 1.4.8 asks for threading.currentThread().getName().
pytestmark = pytest.mark.filterwarnings(
    "ignore:(currentThread|getName):DeprecationWarning"
)


def results(out: Path) -> list[dict[str, str]]:
    with Sweep(out).results.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete sweep of three trials, of which the last fails."""
    out = tmp_path_factory.mktemp("sweeps") / "grid"
    rates = ["--space", "learning_rate=0.02,0.1,1e30"]
    printed = io.StringIO()
    with redirect_stdout(printed):
        run_sweep("--out", str(out), *rates, *TINY, "--tuner", "grid")
    *trials, last = printed.getvalue().splitlines()
    assert len(trials) == 3 and "3 of 3 done, best" in trials[-1]
    assert last == f"report: {out}/report.html"
    return out


@pytest.mark.slow
def test_each_trial_is_a_row_and_an_ordinary_run(grid: Path) -> None:
    rows = results(grid)
    assert list(rows[0])[:8] == [
        *("trial", "status", "learning_rate", "params", "macs", "top1", "seconds"),
        "reason",
    ]
    assert [row["status"] for row in rows] == ["completed", "completed", "failed"]
    for row, rate in zip(rows[:2], (0.02, 0.1), strict=True):
        run = Run.open(grid / "trials" / row["trial"])
        assert run.recipe.learning_rate == rate == float(row["learning_rate"])
        assert run.evaluated["top1"] == float(row["top1"])
        assert run.config["model"]["params"] == int(row["params"])
    assert "loss must be finite" in rows[2]["reason"]


def test_names_of_trials_are_read_as_text(tmp_path: Path) -> None:
    sweeps = {"t": Sweep(tmp_path / "new"), "": Sweep(tmp_path / "old")}
    for prefix, made in sweeps.items():
        known = {"prefix": prefix} if prefix else {}  # older versions had none
        made.begin({"fields": [], "target": None, **known}, resume=False)
        made.append({"event": "begun", "trial": "0003", "values": {}})
        made.begin({"fields": [], "target": None, "prefix": "t"}, resume=True)
        (found,) = rows_of(made)
        assert found["trial"] == f"{prefix}0003"  # which pandas would read as 3


@pytest.mark.slow
def test_the_best_trial_is_linked_and_can_be_evaluated(
    grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = results(grid)
    done = [row for row in rows if row["status"] == "completed"]
    best = max(done, key=lambda row: float(row["val_top1"]))
    assert (grid / "best").resolve().name == best["trial"]
    monkeypatch.setattr(sys, "argv", ["evaluate", str(grid / "best")])
    evaluate()


@pytest.mark.slow
def test_report_and_tensorboard_have_the_trials(grid: Path) -> None:
    page = (grid / "report.html").read_text("utf-8")
    assert "Accuracy by parameters" in page and "loss must be finite" in page
    assert page.count("<svg") >= 6 and "://" not in page.replace(
        "http://www.w3.org", ""
    )
    assert len(list((grid / "tensorboard").iterdir())) == 2


@pytest.mark.slow
def test_a_complete_sweep_stays_as_it_is(grid: Path) -> None:
    before = (grid / "journal.jsonl").read_bytes()
    run_sweep("--resume", "--out", str(grid))
    assert (grid / "journal.jsonl").read_bytes() == before


@pytest.mark.slow
def test_other_sweeps_are_refused(grid: Path) -> None:
    with pytest.raises(UsageError, match="output folder must be new, got"):
        run_sweep("--out", str(grid), *RATES, *TINY)


def test_a_folder_is_one_sweep_s(tmp_path: Path) -> None:
    made = Sweep(tmp_path / "s")
    made.begin({"search": 1}, resume=False)
    made.begin({"search": 1}, resume=True)
    with pytest.raises(UsageError, match=r"must be new, got .* which contains a sweep"):
        made.begin({"search": 1}, resume=False)
    with pytest.raises(UsageError, match=r"resumed with the same search \(1\), got 2"):
        made.begin({"search": 2}, resume=True)
    with pytest.raises(UsageError, match="which contains other files"):
        Sweep(tmp_path).begin({}, resume=False)


def test_a_sweep_is_resumed_with_the_same_options(tmp_path: Path) -> None:
    made = Sweep(tmp_path)
    made.begin({"search": {"space": ["width=1,2"], "trials": 3}}, resume=False)
    other = {"search": {"space": ["width=1"], "trials": 3}}
    with pytest.raises(UsageError, match=r"space \(width=1,2\), got width=1; omit"):
        made.begin(other, resume=True)


def test_a_sweep_of_before_a_field_was_there_goes_on(tmp_path: Path) -> None:
    recipe = Recipe().to_dict()
    Sweep(tmp_path).begin({"recipe": {"seed": 0}}, resume=False)
    Sweep(tmp_path).begin({"recipe": recipe}, resume=True)
    for field, value, said in (("epochs", 9, "30"), ("seed", 1, "0")):
        with pytest.raises(UsageError, match=rf"same {field} \({said}\), got {value}"):
            Sweep(tmp_path).begin({"recipe": recipe | {field: value}}, resume=True)


SD = "resnet110_sd_cifar"


PRESET = ["--preset", "survival"]
MATCHED = ["--space", f"model=resnet20_cifar,{SD}", "--match", "params", SD]


@pytest.mark.parametrize(
    ("asked", "again", "older"),
    [
        (PRESET, [], True),
        (PRESET, TINY, False),
        (["--model", SD, "--space", "survival=0.2,0.5"], [], False),
        (["--model", SD, "--space", "survival=0.2,0.5"], TINY, True),
        pytest.param(MATCHED, [], True, marks=pytest.mark.slow),
        pytest.param(MATCHED, TINY, False, marks=pytest.mark.slow),
    ],
)
def test_a_sweep_of_an_older_version_keeps_its_networks(
    asked: list[str], again: list[str], older: bool, tmp_path: Path
) -> None:
    """Stochastic depth's networks subsampled before trials had a prefix."""
    out = ["--out", str(tmp_path)]
    begun = read_options([*out, *asked, *TINY])
    settings = settings_of(begun, plan_of(begun)[0])
    if older:
        del settings["prefix"]
    Sweep(tmp_path).begin(settings, resume=False)
    resumed = read_options([*out, "--resume", *(again and [*asked, *again])])
    plan, _ = plan_of(resumed)
    Sweep(tmp_path).begin(settings_of(resumed, plan), resume=True)
    for point in plan.points:
        recipe = plan.recipe_at(point)
        spec = find_spec(recipe.model, **recipe.spec_fields)
        assert isinstance(spec, ResNetSpec) and spec.depths == (1, 1, 1)
        former = older or recipe.model != SD  # the others have not changed
        assert spec.shortcut == ("A" if former else "A_pooled")


def test_a_point_of_an_older_sweep_has_its_own_shortcut(tmp_path: Path) -> None:
    search = Search(space=("shortcut=A,B", "survival=0.5"))
    recipe = Recipe(model=SD, overrides=("depths=(1,1,1)",))
    plan = make_plan(search, recipe, former=True)
    for point in plan.points:
        assert plan.recipe_at(point).spec_fields["shortcut"] == point["shortcut"]


def test_damaged_files_are_reported(tmp_path: Path) -> None:
    made = Sweep(tmp_path)
    made.begin({"fields": []}, resume=False)
    (tmp_path / "journal.jsonl").write_text("{bad\n")
    with pytest.raises(UsageError, match=r"journal.jsonl must contain .* got '{bad'"):
        rows_of(made)
    (tmp_path / "sweep.json").write_text("[1]")
    with pytest.raises(UsageError, match=r"sweep.json must contain .* got '\[1\]'"):
        _ = Sweep(tmp_path).settings


def test_the_table_shows_a_trial_that_has_just_begun(tmp_path: Path) -> None:
    # Its solved field is not known before its run has a config.
    made = Sweep(tmp_path)
    fields = ["cardinality", "group_width"]
    made.begin({"fields": fields, "target": ["params", 100]}, resume=False)
    made.append({"event": "begun", "trial": "0", "values": {"cardinality": 2}})
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(Display(made, 4)._table())
    said = console.export_text()
    assert "0 of 4 done" in said and "group_width" in said and "running" in said


def test_time_left_counts_what_trials_took(tmp_path: Path) -> None:
    display = Display(Sweep(tmp_path), 4)
    rows = [row("0", 1, 0.5) | {"seconds": 60.0}, row("1", 1, 0.6) | {"seconds": 40.0}]
    # Resumed, nothing has ended since: two more of 50 s each.
    assert display._summary(rows).endswith("about 2 min left")


def test_a_sweep_without_a_result_fails(tmp_path: Path) -> None:
    made = Sweep(tmp_path)
    made.begin({"fields": [], "target": None}, resume=False)
    made.append({"event": "begun", "trial": "0", "values": {}})
    ended = {"trial": "0", "status": "FAILED", "score": None, "reason": "too large"}
    made.append({"event": "ended", **ended})
    with pytest.raises(Stopped, match=r"got none of 1 \(last: too large\); see"):
        require_result(made)


@pytest.mark.slow
def test_two_workers_find_what_one_finds(grid: Path, tmp_path: Path) -> None:
    # One of the three runs is complete, so that each worker trains another one.
    two = tmp_path / "two"
    shutil.copytree(grid, two, symlinks=True)
    (two / "journal.jsonl").unlink()
    for name in ("t0001", "t0002"):
        shutil.rmtree(two / "trials" / name)
        (two / "logs" / f"{name}.txt").unlink()
    run_sweep("--resume", "--out", str(two), "--workers", "2")
    for a, b in zip(results(grid), results(two), strict=True):
        assert a | {"seconds": ""} == b | {"seconds": ""}
    tuners = [event["tuner"] for event in Sweep(two).events() if "values" in event]
    assert set(tuners) == {"worker0", "worker1"}


def two_workers(
    out: Path, patch: pytest.MonkeyPatch, programs: list[str], then: Callable[[], None]
) -> tuple[ProcessTuner, list[subprocess.Popen[bytes]], list[str]]:
    """Two workers whose trials run ``programs``; the last one's start does ``then``."""
    search = Search(space=("learning_rate=0.1,0.2,0.3",), tuner="grid")
    plan = make_plan(search, Recipe(overrides=("depths=(1,1,1)",)))
    made = Sweep(out)
    made.begin({"prefix": "t"}, resume=False)
    oracle = Grid(plan)
    oracle.restore(made, lambda: None)
    processes: list[subprocess.Popen[bytes]] = []
    gpus: list[str] = []

    def start(
        line: list[str], *, environment: dict[str, str], output: Any
    ) -> subprocess.Popen[bytes]:
        assert not any(name.startswith("KERASTUNER") for name in environment)
        gpus.append(environment["CUDA_VISIBLE_DEVICES"])
        processes.append(subprocess.Popen(shlex.split(programs[len(processes)])))
        if len(processes) == len(programs):
            then()
        return processes[-1]

    patch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    patch.setattr("training.sweeps.trials.start_process", start)
    return ProcessTuner(oracle, plan, made, ["worker0", "worker1"]), processes, gpus


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_trials_of_all_workers(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials, processes, gpus = two_workers(
        tmp_path, monkeypatch, ["sleep 60"] * 2, lambda: signal.raise_signal(number)
    )
    with pytest.raises(Stopped, match="all progress is kept") as stop:
        trials.search()
    assert stop.value.status == 128 + number
    assert [process.returncode for process in processes] == [-number] * 2
    assert gpus == ["4,6", "5"]  # each worker's trials see its own GPUs
    events = [event["event"] for event in Sweep(tmp_path).events()]
    assert events == ["begun"] * 2


@pytest.mark.slow
def test_a_worker_of_another_machine_asks_the_chief(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(free_ports(1)[0]))
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    chief, _, gpus = two_workers(tmp_path, monkeypatch, ["false"] * 3, lambda: None)
    serving = threading.Thread(target=chief.search, daemon=True)
    serving.start()
    made = Sweep(tmp_path)
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "far")
    ProcessTuner(Grid(chief._plan), chief._plan, made, ["far"]).search()
    serving.join(timeout=60)
    assert not serving.is_alive()
    assert gpus == ["4,5,6"] * 3
    begun, ended = made.events()[::2], made.events()[1::2]
    assert [event["tuner"] for event in begun] == ["far"] * 3
    reasons = [(event["trial"], event["reason"]) for event in ended]
    assert reasons == [(f"000{i}", "exit code 1") for i in range(3)]


def test_an_error_of_one_worker_ends_the_trials_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = ["sh -c 'kill -9 $$'"] * 3  # the trial resumes twice
    trials, processes, _ = two_workers(
        tmp_path, monkeypatch, ["sleep 60", *killed], lambda: None
    )

    def full(trial: Any) -> None:
        raise UsageError(f"disk full at {trial.trial_id}, {trial.status}")

    monkeypatch.setattr(trials.oracle, "end_trial", full)
    with pytest.raises(UsageError, match="disk full at 0001, FAILED"):
        trials.search()
    codes = [process.returncode for process in processes]
    assert codes == [-signal.SIGTERM, *[-signal.SIGKILL] * 3]
    assert "killed by SIGKILL 3 times" in Sweep(tmp_path).reason("t0001")


@pytest.mark.slow
def test_a_journal_goes_on_after_a_cut_and_with_fewer_workers(
    grid: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(grid, cut, symlinks=True)
    journal = cut / "journal.jsonl"
    begun = [line for line in journal.read_text().splitlines() if '"begun"' in line]
    second = begun[1].replace("worker0", "worker1")
    journal.write_text(f"{begun[0]}\n{second}\n" + '{"event": "beg')
    run_sweep("--resume", "--out", str(cut))
    for a, b in zip(results(grid), results(cut), strict=True):
        assert a | {"seconds": ""} == b | {"seconds": ""}
    events = [json.loads(line)["event"] for line in journal.read_text().splitlines()]
    assert events == [*["begun"] * 2, *["ended"] * 2, "begun", "ended"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (RATES, r"--out PATH .*\(required\)"),
        (["--out", "x"], "space must have at least one field"),
        (["--out", "x", "--preset", "speed"], "preset must be one of cardinality, "),
        (["--out", "x", "--resume"], "--out must hold a sweep with --resume, got 'x'"),
        (["--out", "x", *RATES, "--preset", "depth"], "--space must be omitted"),
        (
            ["--out", "x", *RATES, "--tuner", "hyperband", "--trials", "3"],
            "--trials must be omitted with hyperband.* got 3",
        ),
        (
            ["--out", "x", "--preset", WIDER, "--tuner", "random"],
            f"--tuner must be grid with the preset {WIDER}.* got random",
        ),
        (
            ["--out", "x", *RATES, "--seeds", "0"],
            "seeds must be between 1 and 10000",
        ),
        (
            ["--out", "x", *RATES, "--seeds", "2"],
            "--seeds must be 1 with random.* got 2; use --tuner grid",
        ),
        (
            ["--out", "x", *RATES, "--match", "params"],
            "match must be params or macs followed by a network, got 'params'",
        ),
        (
            ["--out", "x", "--space", "width=?"],
            r"width=\? must come with a cost to match, got none; use --match",
        ),
        (["--out", "x", *RATES, "--dataset", "cifar99"], "dataset must be digits, "),
        (
            ["--out", "x", *RATES, "--overrides", "width=4"],
            "can be built, got none: shortcut 'A' can only add channels, got 16 → 4",
        ),
        (
            ["--out", "x", *RATES, "--workers", "100000"],
            "workers must be between 1 and 256, got 100000",
        ),
        (["--out", "x", *RATES, "--trials", "0"], "trials must be at least 1"),
        (["--out", "x", "--space", "lr=0.1"], "no field 'lr'"),
        (["--out", "x", *RATES, "--max-params", "9"], "network of the space has"),
    ],
)
def test_mistakes_are_reported(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        options = read_options(arguments)
        make_plan(options.search, options.hyperparameters)
    assert not list(tmp_path.iterdir())


def test_one_process_at_a_time(tmp_path: Path) -> None:
    rule = "a sweep must be run"
    with (
        exclusive_lock(tmp_path / "lock", rule, tmp_path),
        pytest.raises(
            UsageError, match=f"{rule} by one process at a time, got {tmp_path}"
        ),
        exclusive_lock(tmp_path / "lock", rule, tmp_path),
    ):
        pass


def test_an_address_that_others_reach_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check_chief_address(None)
    assert not capsys.readouterr().err
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "0.0.0.0")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "8000")
    check_chief_address("chief")
    assert "anyone who can reach 0.0.0.0" in capsys.readouterr().err


def test_a_worker_must_know_its_chief(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "ORACLE_PORT must be the chief's address and .* got '{}', '' and '{}'"
    with pytest.raises(UsageError, match=said.format("", "worker0")):
        check_chief_address("worker0")
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "10.0.0.1")
    with pytest.raises(UsageError, match=said.format("10.0.0.1", "")):
        check_chief_address(None)


def row(
    trial: str, params: int, top1: float, status: str = "completed"
) -> dict[str, Any]:
    return {"trial": trial, "params": params, "val_top1": top1, "status": status}


def test_the_front_has_what_nothing_cheaper_beats() -> None:
    rows = [row("a", 3, 0.9), row("b", 1, 0.5), row("c", 2, 0.4), row("d", 4, 0.9)]
    assert [r["trial"] for r in pareto(rows, "params")] == ["b", "a"]
    assert best_of([*rows, row("e", 1, 1.0, "failed")]) == rows[0]
    assert best_of([]) is None


@pytest.mark.parametrize(
    "words",
    [
        "--space learning_rate=0.02,0.1 --epochs 3 --seeds 2 --tuner grid "
        "--match params self",
        "--space learning_rate=0.02,0.1 --epochs 1 --trials 1 --batch-size 1",
        "--preset survival",
        "--preset survival --model resnet20_cifar",
    ],
)
def test_the_command_repeats_the_sweep(words: str, tmp_path: Path) -> None:
    asked = read_options(["--out", str(tmp_path), *words.split()])
    made = Sweep(tmp_path / "s")
    made.begin(
        {"search": asdict(asked.search), "recipe": asked.hyperparameters.to_dict()},
        resume=False,
    )
    said = shlex.split(command_line(made).replace("\\\n", ""))
    again = read_options([*said[3:]])
    assert again.search == asked.search
    assert again.hyperparameters == asked.hyperparameters


@pytest.mark.slow
def test_the_hypermodel_works_in_any_tuner(tmp_path: Path) -> None:
    hypermodel = ResNetHyperModel(
        ["width=16,32", "learning_rate=1e-3..1e0:log", "shortcut=A,B"],
        Recipe(model="resnet20_cifar", overrides=("depths=(1,1,1)",)),
        input_shape=(8, 8, 1),
        classes=10,
        steps_per_epoch=5,
    )
    for field in ("batch_size=16,32", "mixup=0.1,0.2", "ema=0.9,0.99"):
        with pytest.raises(UsageError, match="network, optimizer and schedule, got"):
            ResNetHyperModel(
                [field],
                Recipe(),
                input_shape=(8, 8, 1),
                classes=10,
                steps_per_epoch=5,
            )
    tuner = keras_tuner.RandomSearch(
        hypermodel, "val_accuracy", max_trials=1, directory=tmp_path, seed=1
    )
    names = {hp.name for hp in tuner.oracle.get_space().space}
    assert names == {"width", "learning_rate", "shortcut"}
    hp = tuner.oracle.get_space()
    hp.values |= {"width": 32, "shortcut": "B"}
    model = hypermodel.build(hp)
    assert model.get_layer("stage1_block1_conv1").filters == 32
    assert model.output_shape == (None, 10)
    with pytest.raises(UsageError, match="no field 'cardinality'"):
        ResNetHyperModel(
            ["cardinality=1"],
            Recipe(),
            input_shape=(8, 8, 1),
            classes=10,
            steps_per_epoch=5,
        )
