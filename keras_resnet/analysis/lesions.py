"""Measures the error of a trained network after its units are deleted or reordered.

Reference: Veit et al., "Residual Networks Behave Like Ensembles of Relatively Shallow
Networks", NIPS 2016, section 4.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import keras
import numpy as np

from keras_resnet.analysis.gated import Batch, GatedNetwork, Progress

T = TypeVar("T")
MOST = 20  # most units deleted, or pairs swapped, together; the paper's figure 5


@dataclass(frozen=True)
class Lesions:
    """Errors after lesions, as fractions of misclassified images, 0 to 1.

    Attributes:
        model: The network's name.
        images: Number of images that every error was measured on.
        error: Error of the intact network.
        kept: Units that cannot be deleted because they change the shape.
        single: Error without each unit, by unit.
        deleted: Errors of all draws for 1, 2, … random units deleted, by count.
        reordered: Kendall's τ between orders, and the error, of all draws for 1, 2, …
            pairs of units swapped, by count.
    """

    model: str
    images: int
    error: float
    kept: tuple[str, ...]
    single: dict[str, float]
    deleted: dict[int, list[float]]
    reordered: dict[int, list[tuple[float, float]]]

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields with mean and deviation of the draws, as JSON values."""
        return {
            "model": self.model,
            "images": self.images,
            "error": self.error,
            "kept": list(self.kept),
            "single": self.single,
            "deleted": [
                {"units": k, **_spread(errors), "errors": errors}
                for k, errors in self.deleted.items()
            ],
            "reordered": [
                {
                    "pairs": k,
                    "tau": float(np.mean([tau for tau, _ in draws])),
                    **_spread([error for _, error in draws]),
                    "draws": [list(draw) for draw in draws],
                }
                for k, draws in self.reordered.items()
            ],
        }

    def rows(self) -> list[dict[str, Any]]:
        """Returns one row per evaluation: experiment, unit or count, τ, error."""
        names = ("experiment", "unit", "count", "tau", "error")
        rows: list[tuple[Any, ...]] = [("whole", "", 0, 1.0, self.error)]
        rows += [("single", unit, 1, 1.0, e) for unit, e in self.single.items()]
        for k, errors in self.deleted.items():
            rows += [("deleted", "", k, 1.0, e) for e in errors]
        for k, draws in self.reordered.items():
            rows += [("reordered", "", k, tau, e) for tau, e in draws]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def table(self) -> str:
        """Returns a readable table of errors in percent, mean ± deviation, by count."""
        lines = ["count  deleted         swapped         τ"]
        for k in sorted({*self.deleted, *self.reordered}):
            draws = self.reordered.get(k, [])
            cells = (_cell(self.deleted.get(k, [])), _cell([e for _, e in draws]))
            tau = f"{np.mean([t for t, _ in draws]):.2f}" if draws else ""
            lines.append(f"{k:5}  {cells[0]:14}  {cells[1]:14}  {tau}".rstrip())
        return "\n".join(lines)


def _cell(errors: list[float]) -> str:
    if not errors:
        return ""
    return f"{100 * np.mean(errors):.2f} ± {100 * np.std(errors):.2f}"


def _spread(errors: list[float]) -> dict[str, float]:
    return {"mean": float(np.mean(errors)), "deviation": float(np.std(errors))}


class Lesioned:
    """Evaluates a network without given units; compiles it only once.

    Args:
        model: A trained network: normalised images → logits.
        batches: The images and labels to measure errors on.

    Attributes:
        network: The network with gates.
    """

    def __init__(self, model: keras.Model, batches: Sequence[Batch]) -> None:
        self.network = GatedNetwork(model)
        self.network.model.compile(jit_compile=False)
        self._batches = batches

    def error(self) -> float:
        """Returns the fraction of images that the current network misclassifies."""
        wrong = images = 0
        for x, labels in self._batches:
            logits = self.network.model.predict_on_batch(x)
            wrong += int(np.sum(logits.argmax(-1) != labels))
            images += len(labels)
        return wrong / images

    def without(self, deleted: Sequence[int] | np.ndarray) -> float:
        """Returns the error without the units of the given indices."""
        kept = np.ones(len(self.network.units), bool)
        kept[list(deleted)] = False
        self.network.keep(kept)
        try:
            return self.error()
        finally:
            self.network.reset()

    def reordered(self, order: np.ndarray) -> float:
        """Returns the error with unit ``order[i]`` at position i."""
        self.network.order(order)
        try:
            return self.error()
        finally:
            self.network.order(np.argsort(order))


def kendall_tau(order: np.ndarray) -> float:
    """Returns Kendall's rank correlation with the original order, −1 to 1."""
    from scipy.stats import kendalltau

    return float(kendalltau(np.arange(len(order)), order).statistic)


def swapped(
    groups: Sequence[Sequence[int]], units: int, pairs: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns the order 0 … units − 1 after random swaps within groups.

    Args:
        groups: Groups of positions whose units are exchangeable.
        units: Total number of units.
        pairs: Number of successive swaps.
        rng: Draws the swaps; every pair of positions is equally likely.
    """
    order = np.arange(units)
    sizes = np.array([len(group) * (len(group) - 1) for group in groups], float)
    for _ in range(pairs):
        group = groups[rng.choice(len(groups), p=sizes / sizes.sum())]
        i, j = rng.choice(group, 2, replace=False)
        order[[i, j]] = order[[j, i]]
    return order


def lesions(
    model: keras.Model,
    batches: Sequence[Batch],
    *,
    draws: int = 10,
    most: int = MOST,
    seed: int = 0,
    progress: Progress = iter,
) -> Lesions:
    """Returns errors with each unit or random units deleted, or units reordered.

    Args:
        model: A trained network: normalised images → logits.
        batches: The images and labels to measure errors on.
        draws: Number of random subsets, and of orders, per count.
        most: Maximum number of deleted units and of swapped pairs.
        seed: Seed of the draws.
        progress: Wraps the evaluations, e.g. ``tqdm.tqdm``.

    Raises:
        UsageError: The network has no units to delete.
    """
    lesioned = Lesioned(model, batches)
    units = lesioned.network.units
    subsets, orders = _drawn(lesioned.network, draws, most, seed)
    todo: list[Callable[[], float]] = [
        lesioned.error,
        *(partial(lesioned.without, [i]) for i in range(len(units))),
        *(partial(lesioned.without, subset) for subset in subsets),
        *(partial(lesioned.reordered, order) for _, order in orders),
    ]
    errors = iter([measure() for measure in progress(todo)])
    return Lesions(
        model=model.name,
        images=sum(len(labels) for _, labels in batches),
        error=next(errors),
        kept=lesioned.network.kept,
        single={unit: next(errors) for unit in units},
        deleted=_by_count((len(subset), next(errors)) for subset in subsets),
        reordered=_by_count((k, (kendall_tau(o), next(errors))) for k, o in orders),
    )


def _drawn(
    network: GatedNetwork, draws: int, most: int, seed: int
) -> tuple[list[np.ndarray], list[tuple[int, np.ndarray]]]:
    """Draws the subsets of units to delete, and orders with their numbers of swaps."""
    rng = np.random.default_rng(seed)
    units, groups = len(network.units), network.exchangeable
    counts = [k for k in range(1, most + 1) for _ in range(draws)]
    subsets = [rng.choice(units, k, replace=False) for k in counts if k <= units]
    orders = [(k, swapped(groups, units, k, rng)) for k in counts if groups]
    return subsets, orders


def _by_count(pairs: Iterable[tuple[int, T]]) -> dict[int, list[T]]:
    found: dict[int, list[T]] = {}
    for count, value in pairs:
        found.setdefault(count, []).append(value)
    return found
