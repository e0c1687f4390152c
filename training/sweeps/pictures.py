"""Draws a sweep's accuracy by cost, point, hyperparameter and epoch."""

from typing import Any

import numpy as np
from matplotlib.ticker import EngFormatter

from training.reports import COLOURS, GREY, Picture, canvas, epoch_axis, svg
from training.sweeps.display import format_value
from training.sweeps.folder import Sweep
from training.sweeps.results import Row

COSTS = {
    "params": "parameters",
    "macs": "multiply-accumulates",
    "seconds": "seconds of training",
}


def pareto(rows: list[Row], cost: str) -> list[Row]:
    """Returns the trials that none of equal or lower cost beats, cheapest first."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (row[cost], -row["val_top1"])):
        if not front or row["val_top1"] > front[-1]["val_top1"]:
            front.append(row)
    return front


def front(rows: list[Row], cost: str) -> Picture:
    """Draws accuracy against a cost, with the Pareto front."""
    axes = canvas()
    axes.scatter([r[cost] for r in rows], _accuracy(rows), s=18, color=COLOURS[0])
    best = pareto(rows, cost)
    axes.step(
        [r[cost] for r in best], _accuracy(best), where="post", color=COLOURS[1], lw=1
    )
    for row in best:
        _annotate(axes, row["trial"], (row[cost], 100 * row["val_top1"]), (4, 4))
    axes.set(xlabel=COSTS[cost], ylabel="held-out top-1, %")
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.margins(0.1)
    names = ", ".join(f"{r['trial']} ({100 * r['val_top1']:.2f} %)" for r in best)
    return Picture(
        f"Accuracy by {COSTS[cost]}",
        svg(axes),
        f"Pareto front of accuracy and {COSTS[cost]}: trials {names}.",
    )


def errors(rows: list[Row], fields: list[str]) -> Picture:
    """Draws the training and held-out error of each point, averaged over seeds."""
    axes = canvas()
    names = [field for field in fields if field != "seed"]
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: str(row["trial"])):
        label = ", ".join(format_value(row[name]) for name in names)
        groups.setdefault(label, []).append(row)
    places = np.arange(len(groups))
    kinds = (("train_top1", "training"), ("val_top1", "held out"))
    for (key, label), colour in zip(kinds, COLOURS, strict=False):
        values = [[100 * (1 - r[key]) for r in group] for group in groups.values()]
        means = [np.mean(v) for v in values]
        ends = np.array([(min(v), max(v)) for v in values])
        spread = np.abs(ends.T - means)
        axes.errorbar(
            places, means, spread, fmt=".", color=colour, label=label, capsize=2
        )
    axes.set_xticks(places, list(groups), rotation=45, ha="right", fontsize=7)
    axes.set(ylabel="error, %", xlabel=", ".join(names))
    axes.legend(frameon=False, labelcolor=GREY)
    summary = ", ".join(
        f"{label}: {np.mean([100 * (1 - r['val_top1']) for r in group]):.2f} %"
        for label, group in groups.items()
    )
    return Picture("Error of each point", svg(axes), f"Held-out error, {summary}.")


def parallel(rows: list[Row], fields: list[str]) -> Picture:
    """Draws one line per trial through its hyperparameters to its accuracy."""
    names = [field for field in fields if field != "seed"]
    columns = {name: [row[name] for row in rows] for name in names}
    columns[COSTS["params"]] = [row["params"] for row in rows]
    columns["held-out top-1, %"] = _accuracy(rows)
    axes = canvas(width=max(4.6, 1.3 * len(columns)))
    places = np.array([_scale(values) for values in columns.values()])
    for rank, line in reversed(list(enumerate(places.T))):
        axes.plot(line, **_line_style(rank, rows))
    _add_legend(axes)
    for place, values in enumerate(columns.values()):
        for end, value in enumerate(_extremes(values)):
            offset = (0, -9 if end == 0 else 4)
            _annotate(axes, value, (place, end), offset, fontsize=7, ha="center")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks([])
    axes.set_ylim(-0.15, 1.15)
    return Picture(
        "Hyperparameters and accuracy",
        svg(axes),
        f"One line for each of {len(rows)} trials through {', '.join(columns)}; the "
        "most accurate trials are coloured.",
    )


def curves(sweep: Sweep, rows: list[Row]) -> Picture:
    """Draws the held-out error by epoch, the best trials in colour."""
    axes = canvas()
    for rank, row in reversed(list(enumerate(rows))):
        error = [100 * (1 - e["val_top1"]) for e in sweep.run(row["trial"]).epochs]
        epochs = range(1, len(error) + 1)
        axes.plot(epochs, error, marker=".", **_line_style(rank, rows))
    epoch_axis(axes)
    axes.set_ylabel("held-out error, %")
    _add_legend(axes)
    return Picture(
        "Held-out error by epoch",
        svg(axes),
        f"The best trial after the last epoch is {rows[0]['trial']}, with an error of "
        f"{100 * (1 - rows[0]['val_top1']):.2f} %.",
    )


def _line_style(rank: int, rows: list[Row]) -> dict[str, Any]:
    """Returns the line style of a trial; the best ones have colours and names."""
    named = rank < len(COLOURS)
    return {
        "color": COLOURS[rank] if named else GREY,
        "alpha": 1 if named else 0.4,
        "label": rows[rank]["trial"] if named else None,
        "lw": 1.2,
    }


def _annotate(axes: Any, text: str, point: Any, offset: Any, **style: Any) -> None:
    """Writes a text at a point, moved by an offset in typographic points."""
    style = {"fontsize": 8, "color": GREY} | style
    axes.annotate(text, point, xytext=offset, textcoords="offset points", **style)


def _add_legend(axes: Any) -> None:
    """Adds a legend beside the plot, with the best trial first."""
    lines, names = axes.get_legend_handles_labels()
    style = {"frameon": False, "labelcolor": GREY, "fontsize": 7}
    axes.legend(
        lines[::-1], names[::-1], loc="upper left", bbox_to_anchor=(1, 1), **style
    )


def _accuracy(rows: list[Row]) -> list[float]:
    return [100 * row["val_top1"] for row in rows]


def _scale(values: list[Any]) -> np.ndarray:
    """Scales values to [0, 1]: numbers by size, text in alphabetical order."""
    order = _sorted(values)
    numbers = values if _numeric(values) else [order.index(str(v)) for v in values]
    found = np.asarray(numbers, float)
    span = np.ptp(found)
    return (found - found.min()) / span if span else np.full(len(found), 0.5)


def _extremes(values: list[Any]) -> tuple[str, str]:
    order = _sorted(values)
    return format_value(order[0]), format_value(order[-1])


def _sorted(values: list[Any]) -> list[Any]:
    return sorted(set(values if _numeric(values) else map(str, values)))


def _numeric(values: list[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values)
