"""Draws the plots of a run's report, each with a text alternative."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_resnet.figures import ACCENT, INK, MUTED, PAPER, WARM
from training.reports import COLOURS, GREY, Picture, canvas, epoch_axis, percent, svg

Column = Sequence[float]

DRAWN_CLASSES = 40  # maximum for a confusion matrix to be legible
NUMBERED_CLASSES = 20  # maximum for counts in the cells
LONGEST_NAME = 14  # characters
LISTED_PAIRS = 20
LOG_FROM = 10.0  # a larger ratio of largest to smallest value needs a log axis


def curves(columns: Mapping[str, Column]) -> list[Picture]:
    """Draws loss, error, learning rate and throughput by epoch."""
    error = {
        name: [100 * (1 - share) for share in columns[name]]
        for name in ("top1", "val_top1")
    }
    rate, speed = columns["learning_rate"], columns["images_per_second"]
    return [
        _plot_pair("Loss", "cross-entropy, nats", columns["loss"], columns["val_loss"]),
        _plot_pair("Error", "top-1 error, %", error["top1"], error["val_top1"]),
        Picture("Learning rate", _plot("learning rate", [rate]), _describe_rate(rate)),
        Picture(
            "Throughput",
            _plot("images/s", [speed]),
            _describe_speed(speed, columns.get("waiting", ())),
        ),
    ]


def _plot_pair(title: str, unit: str, training: Column, validation: Column) -> Picture:
    text = (
        f"{title} goes from {training[0]:.3g} to {training[-1]:.3g} in training and "
        f"from {validation[0]:.3g} to {validation[-1]:.3g} in validation ({unit})."
    )
    return Picture(title, _plot(unit, [training, validation]), text)


def _describe_rate(rate: Column) -> str:
    top = f", at most {max(rate):.3g}" if max(rate) > max(rate[0], rate[-1]) else ""
    return f"Learning rate after each epoch: from {rate[0]:.3g} to {rate[-1]:.3g}{top}."


def _describe_speed(speed: Column, waiting: Column) -> str:
    text = f"{speed[0]:,.0f} images per second in the first epoch"
    if len(speed) > 1:
        text += f" and {np.median(speed[1:]):,.0f} in the others (median)"
    known = [share for share in waiting if not math.isnan(share)]
    if known:
        text += f"; {100 * np.mean(known):.0f} % of the time was spent waiting for data"
    return f"{text}."


def _plot(unit: str, lines: Sequence[Column]) -> str:
    """Plots one curve over epochs, or a training and a validation curve."""
    axes = canvas()
    names = ("training", "validation") if len(lines) > 1 else ("",)
    styles = ("--", "-") if len(lines) > 1 else ("-",)
    for values, name, style, colour in zip(lines, names, styles, COLOURS, strict=False):
        epochs = range(1, len(values) + 1)
        marker = "o" if len(values) == 1 else None
        axes.plot(epochs, values, style, color=colour, label=name, marker=marker)
    least, most = min(map(min, lines)), max(map(max, lines))
    if unit != "images/s" and 0 < LOG_FROM * least < most:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    epoch_axis(axes)
    axes.set_ylabel(unit)
    if len(lines) > 1:
        axes.legend(frameon=False, labelcolor=GREY, fontsize=9)
    return svg(axes)


def confusion(counts: np.ndarray, names: Sequence[str]) -> Picture | None:
    """Draws the confusion matrix; returns None if there are too many classes.

    Args:
        counts: ``(classes, classes)``; a cell's opacity is its share of its row.
        names: Class names.
    """
    classes = len(names)
    if classes > DRAWN_CLASSES:
        return None
    side = min(3.0 + 0.25 * classes, 9.0)
    axes = canvas(side + 0.4, side)
    _cells(axes, counts)
    short = [
        n if len(n) <= LONGEST_NAME else f"{n[: LONGEST_NAME - 1]}…" for n in names
    ]
    axes.set_xticks(range(classes), short)
    axes.set_yticks(range(classes), short)
    for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        tick.set_parse_math(False)  # a $ in a class name is a dollar sign
    if max(map(len, short)) > 3:
        axes.tick_params("x", rotation=90)
    axes.set(xlim=(-0.5, classes - 0.5), ylim=(classes - 0.5, -0.5), aspect="equal")
    axes.set(xlabel="predicted class", ylabel="true class")
    drawn = svg(axes, grid=False)
    most = ", ".join(
        f"{pair['label']} taken for {pair['predicted']} ({pair['count']})"
        for pair in confused(counts, names)[:3]
    )
    text = f"Most frequent mistakes: {most}." if most else "There are no mistakes."
    return Picture("Confusion matrix", drawn, text)


def _cells(axes: Any, counts: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for true, taken in np.argwhere(counts > 0):
        share = shares[true, taken]
        colour = ACCENT if true == taken else WARM
        place = (taken - 0.47, true - 0.47)
        # Transparent cells suit the page's light and dark backgrounds.
        alpha = 0.15 + 0.85 * share
        axes.add_patch(Rectangle(place, 0.94, 0.94, fc=colour, alpha=alpha, lw=0))
        if len(counts) <= NUMBERED_CLASSES:
            ink, text = (PAPER if share > 0.5 else INK), str(counts[true, taken])
            axes.text(taken, true, text, ha="center", va="center", color=ink, size=8)


def confused(counts: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the pairs of confused classes, the most frequent first."""
    wrong = np.where(np.eye(len(names), dtype=bool), 0, counts)
    order = np.argsort(-wrong, axis=None, kind="stable")[:LISTED_PAIRS]
    return [
        {
            "label": names[true],
            "predicted": names[taken],
            "count": int(wrong[true, taken]),
        }
        for true, taken in np.column_stack(np.unravel_index(order, wrong.shape))
        if wrong[true, taken]
    ]


def calibration(bins: Sequence[Mapping[str, Any]], error: float) -> Picture:
    """Draws the accuracy by confidence."""
    from matplotlib.figure import Figure

    figure = Figure((4.6, 4.2), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    middles = [(b["low"] + b["high"]) / 2 for b in bins]
    wide = 0.92 * (bins[0]["high"] - bins[0]["low"])
    above.bar(middles, [b["accuracy"] or 0 for b in bins], wide, color=ACCENT)
    above.plot([0, 1], [0, 1], color=INK, ls="--", lw=1)
    above.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    images = sum(b["examples"] for b in bins)
    below.bar(middles, [100 * b["examples"] / images for b in bins], wide, color=MUTED)
    below.set(xlabel="confidence", ylabel="images, %", ylim=(0, 100))
    sure, right = (
        sum(b["examples"] * (b[name] or 0) for b in bins) / images
        for name in ("confidence", "accuracy")
    )
    verdict = "overconfident" if sure > right else "underconfident"
    if abs(sure - right) < 0.01:
        verdict = "neither over- nor underconfident on average"
    text = (
        f"Accuracy by confidence; the dashed line is perfect calibration. The mean "
        f"confidence is {percent(sure)} and the accuracy is {percent(right)}, so the "
        f"model is {verdict}. The expected calibration error is {error:.4f}."
    )
    return Picture("Calibration", svg(above), text)
