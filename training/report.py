"""``python -m training.report RUN``: one self-contained page about a run."""

import csv
from dataclasses import dataclass
from pathlib import Path

import tyro

from keras_resnet import command
from training.pages import COLOURS, GREY, Picture, canvas, render, svg
from training.runs import Run, write_atomically, written_to

Column = list[float]


@dataclass(frozen=True)
class Options:
    """Write a run's report.html: what was trained, how it went, what it reached."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""


def write_report(run: Run) -> Path:
    """Writes ``report.html`` into the run's folder and returns its path.

    Raises:
        UsageError: The run is not complete.
    """
    from keras_resnet.describe import walk
    from keras_resnet.models import load_model

    run.require_complete()
    page = render(
        "report.html.j2",
        config=run.config,
        evaluation=run.evaluated,
        curves=curves(history(run)),
        stages=walk(load_model(run.model)),
        artifacts=list(run.artifacts.values()),
    )
    with written_to(run.report):
        write_atomically(run.report, lambda path: path.write_text(page, "utf-8"))
    return run.report


def history(run: Run) -> dict[str, Column]:
    """Returns the columns of history.csv, a number an epoch."""
    with run.history.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def curves(columns: dict[str, Column]) -> list[Picture]:
    """Draws loss, error and learning rate by epoch."""
    error = {
        name: [100 * (1 - share) for share in columns[name]]
        for name in ("top1", "val_top1")
    }
    pairs = [
        ("Loss", "cross-entropy, nats", columns["loss"], columns["val_loss"]),
        ("Error", "top-1 error, %", error["top1"], error["val_top1"]),
    ]
    drawn = [_pair(*pair) for pair in pairs]
    rate = columns["learning_rate"]
    text = f"Learning rate from {rate[0]:.3g} to {rate[-1]:.3g}."
    return [*drawn, Picture("Learning rate", _plot("learning rate", {"": rate}), text)]


def _pair(title: str, unit: str, training: Column, validation: Column) -> Picture:
    text = (
        f"{title} in training from {training[0]:.3g} to {training[-1]:.3g}, in "
        f"validation from {validation[0]:.3g} to {validation[-1]:.3g} ({unit})."
    )
    lines = {"training": training, "validation": validation}
    return Picture(title, _plot(unit, lines), text)


def _plot(unit: str, lines: dict[str, Column]) -> str:
    """Draws lines over epochs."""
    axes = canvas()
    for (label, values), colour in zip(lines.items(), COLOURS, strict=False):
        epochs = range(1, len(values) + 1)
        axes.plot(epochs, values, color=colour, label=label, marker=".", markersize=4)
    if min(map(min, lines.values())) > 0:
        axes.set_yscale("log")
    axes.set(xlabel="epoch", ylabel=unit)
    if len(lines) > 1:
        axes.legend(frameon=False, labelcolor=GREY)
    return svg(axes)


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m training.report")
    run = Run.open(options.run)
    run.require_complete()
    command.start_backend()
    print(f"report: {write_report(run)}")


if __name__ == "__main__":
    command.run(main)
