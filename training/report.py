"""Writes a self-contained page about a run: ``python -m training.report RUN``."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from keras_resnet import command
from training.runs.run import Run
from training.storage.writing import report_write_errors, write_atomically

MISTAKES = 12

SECTIONS = {
    "data": "Data",
    "training": "Training",
    "classes": "Results by class",
    "mistakes": "Worst mistakes",
    "network": "Network",
    "artifacts": "Exported artifacts",
    "analyses": "Analyses",
    "repeat": "Reproduce this run",
}


@dataclass(frozen=True)
class Options:
    """Write a run's report.html, a page about its data, training and results."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    dataset: str | None = None
    """New location of the run's data set, if it was moved."""


def write_report(run: Run, dataset: str | None = None) -> Path:
    """Writes ``report.html`` into the run's folder and returns its path.

    Args:
        run: A complete run.
        dataset: Current location of the run's data set; None: its stored location.

    Raises:
        UsageError: The run is not complete, or ``dataset`` is another data set.
    """
    from training.reports import render

    run.require_complete()
    page = render("reports/report.html.j2", **contents(run, dataset))
    with report_write_errors(run.report):
        write_atomically(run.report, lambda path: path.write_text(page, "utf-8"))
    return run.report


def contents(run: Run, dataset: str | None = None) -> dict[str, Any]:
    """Returns the variables of the page's template by name."""
    import numpy as np

    from keras_resnet import describe
    from keras_resnet.archive import load_model
    from training.reports import facts, illustrations, pictures

    config, assessed, columns = run.config, assessment(run, dataset), facts.history(run)
    model, names = load_model(run.model), config["dataset"]["labels"]
    counts = np.array(assessed["confusion"])
    shown = {
        "title": facts.title(config),
        "config": config,
        "assessed": assessed,
        "summary": facts.summary(config, assessed, columns),
        "trained_on": facts.trained_on(config),
        "lowest": facts.lowest(assessed["classes"]),
        "stages": describe.walk(model),
        "walk": illustrations.walk(model),
        "artifacts": [a for a in run.artifacts.values() if is_current(a)],
        "analyses": illustrations.analyses(run),
        "environment": facts.environment(config),
        **illustrations.images(run, assessed["mistakes"][:MISTAKES], dataset),
        "curves": pictures.curves(columns),
        "confusion": pictures.confusion(counts, names),
        "confused": pictures.confused(counts, names),
        "calibration": pictures.calibration(
            assessed["calibration"], assessed["calibration_error"]
        ),
    }
    missing = {name for name in SECTIONS if name in shown and not shown[name]}
    titles = {name: t for name, t in SECTIONS.items() if name not in missing}
    return shown | {"sections": titles}


def is_current(artifact: dict[str, Any]) -> bool:
    """Checks whether a compared artifact still exists with the same manifest."""
    compared = artifact.get("manifest", {"path": ""})
    manifest = Path(compared["path"])
    if not manifest.is_file():
        return False
    content = manifest.read_bytes()
    if hashlib.sha256(content).hexdigest() != compared["sha256"]:
        return False
    return all(
        (manifest.parent / name).is_file() for name in json.loads(content)["files"]
    )


def assessment(run: Run, dataset: str | None = None) -> dict[str, Any]:
    """Returns the assessment of the run's model, computing it if it is missing."""
    from training.evaluate import evaluate_run

    if not run.assessment.is_file():  # a run of an older version
        return evaluate_run(run, dataset=dataset)
    return dict(json.loads(run.assessment.read_text(encoding="utf-8")))


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m training.report")
    run = Run.open(options.run)
    run.require_complete()
    command.load_backend("tensorflow", "jax")
    print(f"report: {write_report(run, options.dataset)}")


if __name__ == "__main__":
    command.run(main)
