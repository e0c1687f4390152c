"""Plots the results of the analyses, each with a sentence that describes the plot."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnet.analysis.gradients import Gradients
from keras_resnet.analysis.lesions import Lesions
from keras_resnet.analysis.paths import Paths
from keras_resnet.figures import ACCENT, INK, MUTED, WARM, axes_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (ACCENT, WARM, "#5b8c5a", "#7a5195", INK)


def plot_lesions(result: Lesions) -> "Figure":
    """Plots the error without each unit, without k units, and with reordered units."""
    figure, (single, deleted, reordered) = axes_row(3, f"Lesions of {result.model}")
    single.bar(
        range(len(result.single)), _percent(list(result.single.values())), color=ACCENT
    )
    _name_stages(single, [unit.partition("_")[0] for unit in result.single])
    single.set(title="one unit deleted", xlabel="units of each stage")
    _whole(single, result.error)
    _band(deleted, result.deleted)
    deleted.set(title="k random units deleted", xlabel="units deleted")
    deleted.locator_params(axis="x", integer=True)
    _whole(deleted, result.error)
    if result.reordered:
        tau, error = np.concatenate(list(result.reordered.values())).T
        reordered.scatter(tau, 100 * error, s=14, color=ACCENT, alpha=0.6, lw=0)
        reordered.invert_xaxis()
        _whole(reordered, result.error)
    reordered.set(title="pairs of units swapped", xlabel="Kendall's τ of the order")
    for ax in (single, deleted, reordered):
        ax.set_ylim(0, 100)
    single.set_ylabel("test error, %")
    return figure


def describe_lesions(result: Lesions) -> str:
    """Describes the plot of ``plot_lesions``."""
    worst = max(result.single, key=lambda unit: result.single[unit])
    last, errors = list(result.deleted.items())[-1]
    median = float(np.median(list(result.single.values())))
    text = (
        f"{result.model} misclassifies {result.error:.2%} of {result.images} images; "
        f"{median:.2%} without one unit (median), at most {result.single[worst]:.2%} "
        f"({worst}); {np.mean(errors):.2%} without {last} random units"
    )
    if not result.reordered:
        return text + "."
    pairs, draws = list(result.reordered.items())[-1]
    tau, error = np.mean(draws, axis=0)
    return f"{text}; {error:.2%} after {pairs} swaps (τ {tau:.2f})."


def plot_paths(result: Paths) -> "Figure":
    """Plots the number of paths, the gradient and their product over the length."""
    figure, (number, gradient, product) = axes_row(3, f"Paths through {result.model}")
    lengths = np.arange(result.units + 1)
    low, high = result.effective
    number.bar(lengths, result.pmf, color=ACCENT)
    number.set(title="share of paths")
    positive = np.array(result.gradient) > 0
    gradient.semilogy(
        lengths[positive], np.array(result.gradient)[positive], "o-", color=ACCENT, ms=3
    )
    _whole_decades(gradient)
    gradient.set(title="mean gradient along one path")
    inside = (lengths >= low) & (lengths <= high)
    colours = np.where(inside, WARM, MUTED)
    product.bar(lengths, result.contribution, color=colours)
    product.set(title=f"share × gradient; {low}–{high} carry 95 %")
    for ax in (number, gradient, product):
        ax.set_xlabel("length, units")
        ax.locator_params(axis="x", integer=True)
    return figure


def describe_paths(result: Paths) -> str:
    """Describes the plot of ``plot_paths``."""
    low, high = result.effective
    return (
        f"Of the paths through the {result.units} units of {result.model}, those of "
        f"length {low} to {high} carry 95 % of the gradient; they are "
        f"{result.share:.3%} of all paths."
    )


def plot_gradients(results: Mapping[str, Gradients]) -> "Figure":
    """Plots gradients at kernels and units and dead channels, one line per network."""
    figure, (kernels, units, dead) = axes_row(
        3, "Gradients from the first layer to the last"
    )
    for i, (name, result) in enumerate(results.items()):
        style = {"color": COLOURS[i // 2 % len(COLOURS)], "lw": 1.5}
        style |= {"ls": "--" if i % 2 == 0 else "-", "label": name}
        _line(kernels, list(result.kernels.values()), style)
        _line(units, list(result.units.values()), style)
        _line(dead, _percent(list(result.dead.values())), style)
    kernels.set(title="norm at kernels", xlabel="layer", yscale="log")
    units.set(title="norm at units' outputs", xlabel="unit", yscale="log")
    dead.set(title="dead channels of ReLUs, %", xlabel="ReLU", ylim=(-2, 102))
    _whole_decades(kernels, units)
    for ax in (kernels, units, dead):
        ax.locator_params(axis="x", integer=True)
    handles, labels = kernels.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8
    )
    return figure


def describe_gradients(results: Mapping[str, Gradients]) -> str:
    """Describes the plot of ``plot_gradients``."""
    parts = [f"{name}: {result.ratio:.3g}" for name, result in results.items()]
    return (
        "Gradient at the first kernel over that at the last: " + "; ".join(parts) + "."
    )


def _name_stages(ax: "Axes", stages: Sequence[str]) -> None:
    """Writes a stage's number below the middle of its bars, between tick marks."""
    ends = [i + 0.5 for i, (a, b) in enumerate(pairwise(stages)) if a != b]
    edges = [-0.5, *ends, len(stages) - 0.5]
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    ax.set_xticks(middles, [s.removeprefix("stage") for s in dict.fromkeys(stages)])
    ax.set_xticks(edges, minor=True)
    ax.tick_params("x", which="major", length=0, pad=6)
    ax.tick_params("x", which="minor", length=9)


def _whole_decades(*plots: "Axes") -> None:
    """Ends and labels logarithmic y-axes at whole powers of ten."""
    for ax in plots:
        low, high = np.log10(ax.get_ylim())
        ax.set_ylim(10 ** np.floor(low), 10 ** np.ceil(high))
        ax.yaxis.set_minor_formatter("")  # no labels


def _percent(shares: Sequence[float]) -> list[float]:
    return [100 * share for share in shares]


def _whole(ax: "Axes", error: float) -> None:
    ax.axhline(100 * error, color=INK, lw=1, ls=":")


def _band(ax: "Axes", errors: Mapping[int, Sequence[float]]) -> None:
    counts = list(errors)
    values = np.array([_percent(e) for e in errors.values()])
    low, middle, high = np.percentile(values, (10, 50, 90), axis=1)
    ax.fill_between(counts, low, high, color=ACCENT, alpha=0.2, lw=0)
    ax.plot(counts, middle, "o-", color=ACCENT, ms=3)


def _line(ax: "Axes", values: Sequence[float], style: dict[str, Any]) -> None:
    ax.plot(range(1, len(values) + 1), values, **style)
