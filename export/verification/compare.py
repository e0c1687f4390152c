"""How two classifiers differ on the same images, and how much is allowed."""

from dataclasses import dataclass

import numpy as np

from keras_resnet.errors import Stopped

# Largest difference of a probability that float32 kernels of different runtimes make,
# and of TensorFlow's own, which the run's answers come from too.
TOLERANCE = 1e-4
TOLERANCES = {"tensorflow": 1e-5, "c-api": 1e-5}
# What is compared: probabilities of pixels, of files, and from what ``features`` gives.
COMPARED = ("pixels", "bytes", "features")
# As much of it as a runtime can ask for, which an artifact then must answer.
ANSWERED = {"tensorflow": COMPARED, "c-api": COMPARED[:2]}
# Artifacts of fewer bits round as they may: their answers count.
AGREEMENT = 0.95  # share of images whose most probable class must be the same
MAX_DROP = 1.0  # points of accuracy


def tolerance(runtime: str) -> float:
    """Returns how much a probability may differ in a runtime."""
    return TOLERANCES.get(runtime, TOLERANCE)


@dataclass(frozen=True)
class Difference:
    """How two classifiers' probabilities differ on the same images.

    Attributes:
        images: Their number.
        largest: Largest absolute difference of a probability.
        mean: Mean absolute difference.
        agreement: Share of images with the same most probable class.
        accuracy: Share that the second one classifies rightly.
        drop: Points (0.01) of accuracy that the second one has less.
    """

    images: int
    largest: float
    mean: float
    agreement: float
    accuracy: float
    drop: float

    def __str__(self) -> str:
        return (
            f"max |difference| {self.largest:.1e}, mean {self.mean:.1e}, agreement "
            f"{self.agreement:.2%}, accuracy {self.accuracy:.4f} ({self.images} images)"
        )


def compare(ours: np.ndarray, theirs: np.ndarray, labels: np.ndarray) -> Difference:
    """Compares probabilities ``(N, classes)``, the run's and the artifact's.

    Raises:
        Stopped: They have different shapes, or some are not finite.
    """
    if ours.shape != theirs.shape:
        raise Stopped(
            f"not the same network: probabilities must be {ours.shape}, got "
            f"{theirs.shape}"
        )
    if not np.isfinite(theirs).all():
        raise Stopped("not the same network: some probabilities are not finite")
    differences = np.abs(ours.astype(np.float64) - theirs)
    best, expected = theirs.argmax(-1), ours.argmax(-1)
    accuracy = float((best == labels).mean())
    return Difference(
        images=len(labels),
        largest=float(differences.max()),
        mean=float(differences.mean()),
        agreement=float((expected == best).mean()),
        accuracy=accuracy,
        drop=100 * (float((expected == labels).mean()) - accuracy),
    )


@dataclass(frozen=True)
class Tolerances:
    """What still counts as the same network.

    Attributes:
        rounded: The artifact computes with fewer than 32 bits on purpose.
        max_drop: Points of accuracy that it may then lose.
    """

    rounded: bool
    max_drop: float = MAX_DROP

    def allow(self, runtime: str, difference: Difference) -> bool:
        """Whether a difference found by a runtime is small enough."""
        if self.rounded:
            agrees = difference.agreement >= AGREEMENT
            return agrees and difference.drop <= self.max_drop
        return difference.largest <= tolerance(runtime)

    def describe(self, runtimes: list[str]) -> str:
        """Returns it in words."""
        if self.rounded:
            return f"agreement {AGREEMENT:.0%}, {self.max_drop:g} points of accuracy"
        limits = {runtime: f"{tolerance(runtime):g}" for runtime in runtimes}
        if len(set(limits.values())) == 1:
            return limits[runtimes[0]]
        return ", ".join(f"{limit} in {name}" for name, limit in limits.items())
