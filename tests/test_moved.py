"""Commands about a run whose data was moved: they find it, and read it once."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from data import noise, sizes, write_image
from exported import Artifacts

from export import tflite, verify
from keras_resnet import command
from training import analyse, evaluate, report
from training.experiment.data import load_recipe_dataset
from training.runs.run import Run
from training.storage.writing import write_json

pytestmark = pytest.mark.slow

# By command: what runs it, its arguments, a part of what it prints.
COMMANDS: dict[str, tuple[Callable[[], None], list[str], str]] = {
    "export.tflite": (
        tflite.main,
        ["RUN", "--out", "OUT/model.tflite", "--quantize", "int8", "--images", "4"],
        "on 4 test images",
    ),
    "export.verify": (
        verify.main,
        ["ARTIFACT", "RUN", "--runtimes", "litert", "--images", "4"],
        "the same network as",
    ),
    "training.evaluate": (evaluate.main, ["RUN"], '"examples": 12'),
    "training.report": (report.main, ["RUN"], "report.html"),
    "training.analyse": (
        analyse.main,
        ["lesions", "RUN", "--images", "4", "--draws", "1", "--most", "1"],
        "lesions.json",
    ),
}


@pytest.fixture(scope="module")
def moved(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run as if its images had been in a folder, which was moved since."""
    root = tmp_path_factory.mktemp("moved")
    for number, label in enumerate(run.config["dataset"]["labels"]):
        for i in range(20):
            image = noise(12, 8, 3, seed=20 * number + i)
            write_image(root / "photos" / label / f"{i}.png", image)
    recipe = replace(run.recipe, dataset=f"folder:{root / 'photos'}")
    data, config = load_recipe_dataset(recipe), run.config
    config["recipe"] = recipe.to_dict()
    known = {"place": recipe.dataset, "digest": data.digest, "examples": sizes(data)}
    config["dataset"] |= known
    ignored = shutil.ignore_patterns("tensorboard", "checkpoints", "analysis")
    copy = Run(shutil.copytree(run.path, root / "run", ignore=ignored))
    write_json(copy.path / "config.json", config)
    (root / "photos").rename(root / "elsewhere")
    return copy


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_finds_moved_data_and_reads_it_once(
    name: str,
    moved: Run,
    artifacts: Artifacts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from training.data.sources import folder

    checks, check = [], folder.check

    def counted(*arguments: object) -> object:
        checks.append(arguments)
        return check(*arguments)

    main, words, said = COMMANDS[name]
    artifact = str(artifacts["TFLite"]) if "ARTIFACT" in words else ""
    places = {"RUN": str(moved.path), "ARTIFACT": artifact}
    line = [places.get(w, w.replace("OUT", str(tmp_path))) for w in words]
    monkeypatch.setattr(folder, "check", counted)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    if name != "training.report":  # which goes without the images
        monkeypatch.setattr(sys, "argv", [name, *line])
        with pytest.raises(SystemExit):
            command.run(main)
        assert "if it was moved, give its new location" in capsys.readouterr().err
    assert not checks
    place = f"folder:{moved.path.parent / 'elsewhere'}"
    monkeypatch.setattr(sys, "argv", [name, *line, "--dataset", place])
    command.run(main)
    assert said in capsys.readouterr().out
    assert len(checks) == 1
    if name == "training.report":
        assert moved.report.read_text("utf-8").count("data:image/png") > 1
