"""Measures how two classifiers differ on the same images, and defines tolerances."""

from dataclasses import dataclass

import numpy as np

from keras_resnet.errors import Stopped

# Largest difference of a probability between float32 kernels of different runtimes, and
# between those of TensorFlow, which also compute the run's probabilities.
TOLERANCE = 1e-4
TOLERANCES = {"tensorflow": 1e-5, "c-api": 1e-5}
# Compared: probabilities for pixels, for files, and computed from ``features``.
COMPARED = ("pixels", "bytes", "features")
# Those that a runtime supports, which an artifact then must return.
ANSWERED = {"tensorflow": COMPARED, "c-api": COMPARED[:2]}
# Artifacts with fewer bits may round: only their predicted classes count.
AGREEMENT = 0.95  # share of images whose most probable class must be the same
MAX_DROP = 1.0  # points of accuracy


def tolerance(runtime: str) -> float:
    """Returns the largest allowed difference of a probability in a runtime."""
    return TOLERANCES.get(runtime, TOLERANCE)


@dataclass(frozen=True)
class Difference:
    """Differences between the probabilities of two classifiers on the same images.

    Attributes:
        images: Number of images.
        largest: Largest absolute difference of a probability.
        mean: Mean absolute difference.
        agreement: Share of images with the same most probable class.
        accuracy: Share of images that the second one classifies correctly.
        drop: Loss of accuracy of the second one in points (0.01).
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
    """Returns how the probabilities of an artifact differ from the run's.

    Args:
        ours: Probabilities of the run, ``(N, classes)``.
        theirs: Probabilities of the artifact, ``(N, classes)``.
        labels: Classes of the images, integers ``(N,)``.

    Raises:
        Stopped: The shapes differ, or some probabilities are not finite.
    """
    if ours.shape != theirs.shape:
        raise Stopped(
            f"not the same network: probabilities must have shape {ours.shape}, got "
            f"{theirs.shape}"
        )
    if not np.isfinite(theirs).all():
        raise Stopped("not the same network: probabilities must be finite")
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
    """Limits within which an artifact counts as the same network.

    Attributes:
        rounded: Whether the artifact computes with fewer than 32 bits on purpose.
        max_drop: Largest allowed loss of accuracy of a rounded artifact, in points.
    """

    rounded: bool
    max_drop: float = MAX_DROP

    def allow(self, runtime: str, difference: Difference) -> bool:
        """Returns whether a difference measured in a runtime is within the limits."""
        if self.rounded:
            agrees = difference.agreement >= AGREEMENT
            return agrees and difference.drop <= self.max_drop
        return difference.largest <= tolerance(runtime)

    def describe(self, runtimes: list[str]) -> str:
        """Returns the limits in words."""
        if self.rounded:
            return f"agreement {AGREEMENT:.0%}, {self.max_drop:g} points of accuracy"
        limits = {runtime: f"{tolerance(runtime):g}" for runtime in runtimes}
        if len(set(limits.values())) == 1:
            return limits[runtimes[0]]
        return ", ".join(f"{limit} in {name}" for name, limit in limits.items())
