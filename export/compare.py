"""How two classifiers differ on the same images."""

from dataclasses import dataclass

import numpy as np

from keras_resnet.errors import Stopped


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
