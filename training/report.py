"""``python -m training.report RUN``: one self-contained page about a run."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from keras_resnet import command
from training.runs import Run, write_atomically, written_to

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEMPLATE = "report.html.j2"

Column = list[float]


@dataclass(frozen=True)
class Options:
    """Write a run's report.html: what was trained, how it went, what it reached."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""


@dataclass(frozen=True)
class Curve:
    """A picture of the training with its description in words.

    Attributes:
        title: What it shows.
        svg: The picture, an ``<svg>`` element.
        text: The same for those who do not see it.
    """

    title: str
    svg: str
    text: str


def write_report(run: Run) -> Path:
    """Writes ``report.html`` into the run's folder and returns its path.

    Raises:
        UsageError: The run is not complete.
    """
    import jinja2

    from keras_resnet.describe import walk
    from keras_resnet.models import load_model

    run.require_complete()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(TEMPLATE).render(
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


def curves(columns: dict[str, Column]) -> list[Curve]:
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
    return [*drawn, Curve("Learning rate", _plot("learning rate", {"": rate}), text)]


def _pair(title: str, unit: str, training: Column, validation: Column) -> Curve:
    text = (
        f"{title} in training from {training[0]:.3g} to {training[-1]:.3g}, in "
        f"validation from {validation[0]:.3g} to {validation[-1]:.3g} ({unit})."
    )
    lines = {"training": training, "validation": validation}
    return Curve(title, _plot(unit, lines), text)


def _plot(unit: str, lines: dict[str, Column]) -> str:
    """Draws lines over epochs; grey axes read on light and on dark ground."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.0), layout="constrained")
    axes: Axes = figure.subplots()
    for (label, values), colour in zip(
        lines.items(), ("#2a7ae2", "#e2702a"), strict=False
    ):
        epochs = range(1, len(values) + 1)
        axes.plot(epochs, values, color=colour, label=label, marker=".", markersize=4)
    if min(map(min, lines.values())) > 0:
        axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel(unit)
    _in_grey(axes)
    if len(lines) > 1:
        axes.legend(frameon=False, labelcolor="#888")
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", transparent=True)
    text = drawn.getvalue()
    return text[text.index("<svg") :]


def _in_grey(axes: "Axes") -> None:
    axes.tick_params(colors="#888", which="both")
    axes.xaxis.label.set_color("#888")
    axes.yaxis.label.set_color("#888")
    for spine in axes.spines.values():
        spine.set_color("#888")


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m training.report")
    run = Run.open(options.run)
    run.require_complete()
    command.start_backend()
    print(f"report: {write_report(run)}")


if __name__ == "__main__":
    command.run(main)
