"""Counts the paths of each length through a residual network, and their gradients.

Reference: Veit et al., "Residual Networks Behave Like Ensembles of Relatively Shallow
Networks", NIPS 2016, section 4 ("The importance of short paths").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import keras
import numpy as np

from keras_resnet.analysis.gated import Batch, GatedNetwork, Progress
from keras_resnet.errors import UsageError

COVERED = 0.95  # fraction of the gradient in the effective lengths


@dataclass(frozen=True)
class Paths:
    """Measurements by path length: the number of branches in the path, 0 … n.

    Attributes:
        model: The network's name.
        units: n.
        pmf: Fraction of the 2ⁿ paths that have each length.
        gradient: Mean norm of the loss gradient at an image along one path.
        samples: Number of paths in each mean.
        contribution: ``pmf · gradient``, scaled to a sum of 1.
        effective: Shortest range of lengths that contributes ``COVERED``.
        share: Fraction of all paths whose length is in that range.
    """

    model: str
    units: int
    pmf: list[float]
    gradient: list[float]
    samples: int
    contribution: list[float]
    effective: tuple[int, int]
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return {**vars(self), "effective": list(self.effective)}

    def rows(self) -> list[dict[str, Any]]:
        """Returns one row per length."""
        return [
            {"length": k, "pmf": p, "gradient": g, "contribution": c}
            for k, (p, g, c) in enumerate(
                zip(self.pmf, self.gradient, self.contribution, strict=True)
            )
        ]


def lengths_pmf(units: int) -> np.ndarray:
    """Returns the fraction of paths of each length 0 … units, C(n, k) / 2ⁿ."""
    return np.array([comb(units, k) / 2**units for k in range(units + 1)])


def shortest_range(weights: Sequence[float], covered: float) -> tuple[int, int]:
    """Returns the shortest ``(low, high)`` with at least that share of all weights.

    Of two ranges of the same size, the one with the larger share wins.
    """
    sums = np.concatenate([[0.0], np.cumsum(weights)])
    enough = covered * sums[-1]
    for size in range(1, len(sums)):
        carried = sums[size:] - sums[:-size]
        low = int(carried.argmax())
        if carried[low] >= enough:
            return low, low + size - 1
    return 0, len(weights) - 1  # rounding: no range is enough


class PathGradients:
    """Computes loss gradients at images along given paths; compiles only once.

    Values flow through the whole network in inference mode. A path only restricts the
    gradient: to the branch in some units, to the shortcut in the others.

    Args:
        model: A residual network: normalised images → logits.

    Attributes:
        network: The network with gates.

    Raises:
        UsageError: The network has only one path.
    """

    def __init__(self, model: keras.Model) -> None:
        import tensorflow as tf

        self.network = GatedNetwork(model)
        if not self.network.residual.all():
            raise UsageError(
                f"paths need residual units, got {model.name}, which has one path"
            )
        self._gradient = tf.function(
            self._computed, autograph=False, reduce_retracing=True
        )

    def along(
        self, branches: np.ndarray, images: np.ndarray, labels: np.ndarray
    ) -> np.ndarray:
        """Returns the gradient of each image's loss along one path.

        Args:
            branches: Whether the path takes each unit's branch, ``(units,)``.
            images: Normalised images ``(N, H, W, C)``.
            labels: Class numbers ``(N,)``.

        Returns:
            Gradients ``(N, H, W, C)``.
        """
        taken = np.asarray(branches, "float32")
        self.network.flow(branch=taken, shortcut=1 - taken)
        try:
            return np.array(self._gradient(images, labels))
        finally:
            self.network.reset()

    def _computed(self, images: Any, labels: Any) -> Any:
        import tensorflow as tf

        images = tf.convert_to_tensor(images)
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = self.network.model(images, training=False)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tape.gradient(losses, images)


def paths(
    model: keras.Model,
    batches: Sequence[Batch],
    *,
    samples: int = 20,
    seed: int = 0,
    progress: Progress = iter,
) -> Paths:
    """Returns the gradients along sampled paths of every length.

    Args:
        model: A residual network: normalised images → logits.
        batches: Batches of one size; every sample uses one of them.
        samples: Number of paths of each length.
        seed: Seed of the draws.
        progress: Wraps the measurements, e.g. ``tqdm.tqdm``.

    Raises:
        UsageError: The network has only one path.
    """
    gradients = PathGradients(model)
    units = len(gradients.network.units)
    rng = np.random.default_rng(seed)
    drawn = [k for k in range(units + 1) for _ in range(samples)]
    norms: list[list[float]] = [[] for _ in range(units + 1)]
    for k in progress(drawn):
        branches = np.zeros(units, bool)
        branches[rng.choice(units, k, replace=False)] = True
        images, labels = batches[int(rng.integers(len(batches)))]
        gradient = gradients.along(branches, images, labels)
        flat = gradient.reshape(len(labels), -1)
        norms[k].append(float(np.linalg.norm(flat, axis=1).mean()))
    means = np.array([np.mean(n) for n in norms])
    return summary(model.name, means, samples)


def summary(name: str, gradient: np.ndarray, samples: int) -> Paths:
    """Returns gradients by length, weighted by the number of paths.

    Args:
        name: The network's name.
        gradient: Mean norm of the gradient for every length, ``(n + 1,)``.
        samples: Number of paths in each mean.
    """
    pmf = lengths_pmf(len(gradient) - 1)
    product = pmf * gradient
    low, high = shortest_range(product.tolist(), COVERED)
    return Paths(
        model=name,
        units=len(gradient) - 1,
        pmf=pmf.tolist(),
        gradient=gradient.tolist(),
        samples=samples,
        contribution=(product / product.sum()).tolist(),
        effective=(low, high),
        share=float(pmf[low : high + 1].sum()),
    )


class EffectivePaths(keras.callbacks.Callback):
    """Trains only along effective paths: in each step, few branches get gradients.

    Values flow through the whole network. With m units drawn, the lengths of the paths
    with gradients are binomial over m, and m = low + high centres them on the effective
    range (for 5 … 17 that is 22; the paper draws 23 of 54).

    Args:
        network: The network to train.
        effective: The range of lengths, ``(low, high)``.
        seed: Seed of the draws, one per step.
    """

    def __init__(
        self, network: GatedNetwork, effective: tuple[int, int], seed: int = 0
    ) -> None:
        super().__init__()
        self.drawn = min(sum(effective), len(network.units))
        self._network = network
        self._seed = seed
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Stores the epoch; a draw depends only on seed, epoch and step."""
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Draws the branches of one step."""
        rng = np.random.default_rng((self._seed, self._epoch, batch))
        units = len(self._network.units)
        branch = np.zeros(units, "float32")
        branch[rng.choice(units, self.drawn, replace=False)] = 1
        self._network.flow(branch=branch, shortcut=np.ones(units, "float32"))
