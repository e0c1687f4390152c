"""Coordinates the replicas of a model on one or several devices and machines."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from keras import ops

from keras_resnet.errors import UsageError
from training.data.types import WHOLE, Share, Tensor


class Replicas:
    """The copies of a model that are trained as one; this class has a single copy.

    All differences between one device, several devices and several machines are in its
    subclasses, one for each way in which a backend uses several devices.

    Attributes:
        count: Number of devices of all workers.
        workers: Number of workers.
        worker: Index of this worker.
        parts: Number of parts of every batch, each computed for itself.
        replicated: Where JAX keeps the model on several devices; None: on one.
    """

    count = 1
    workers = 1
    worker = 0
    parts = 1
    replicated: Any = None

    @property
    def chief(self) -> bool:
        """Whether this worker writes files and prints."""
        return self.worker == 0

    @property
    def shares(self) -> list[Share]:
        """The parts of every batch that this worker reads."""
        return [WHOLE]

    def scope(self) -> AbstractContextManager[Any]:
        """Returns a context in which all devices get the model's variables."""
        return nullcontext()

    def batches(self, of: Callable[[Share], Iterable[Any]]) -> Iterator[Any]:
        """Yields the batches of this worker's shares, one step of all devices at once.

        Args:
            of: Maps a share to its batches; all shares have the same number of batches.
        """
        yield from of(WHOLE)

    def training_batches(
        self, of: Callable[[Share, int | None], Iterable[Any]], sizes: Sequence[int]
    ) -> Iterator[Any]:
        """Yields batches like ``batches``, which all workers compute together.

        Args:
            of: Maps a share and the ``block_devices`` of ``TrainingData.batches`` to
                the share's batches.
            sizes: Numbers of examples of the batches, on all workers together.
        """
        yield from self.batches(lambda share: of(share, None))

    def run(self, step: Callable[..., Tensor], *batch: Any) -> Any:
        """Runs a step on every replica of this worker."""
        return step(*batch)

    def summed(self, values: Any) -> Tensor:
        """Returns the sum over all replicas of a result of ``run``."""
        return values

    def examples(self, values: Tensor) -> Tensor:
        """Returns a batch's number of examples on all replicas, float32, in a step.

        A sum over this replica's examples, divided by this number, is the replica's
        part of the mean over the whole batch, even if replicas hold different numbers
        of examples.

        Args:
            values: One entry for each example of this replica.
        """
        return ops.cast(ops.shape(values)[0], "float32")

    def locals(self, value: Any) -> tuple[Tensor, ...]:
        """Returns the values of a variable or result on this worker's replicas."""
        return (value,)

    def to_all(self, values: Any) -> Any:
        """Returns arrays of this worker, which all workers have, on all devices."""
        return values

    def to_worker(self, values: Any) -> Any:
        """Returns arrays on all devices as arrays of this worker."""
        return values

    def total(self, values: np.ndarray) -> np.ndarray:
        """Returns the sum over workers, in float64."""
        return values

    def gather(self, values: np.ndarray) -> np.ndarray:
        """Returns every worker's values ``(N,)``, as float64 ``(workers, N)``."""
        rows = np.zeros((self.workers, len(values)))
        rows[self.worker] = values
        return self.total(rows)

    def from_chief(self, values: Sequence[int]) -> list[int]:
        """Returns the chief's values on all workers."""
        summand = np.asarray(values, np.float64) * self.chief
        return [int(value) for value in self.total(summand)]

    def any(self, flag: bool) -> bool:
        """Returns whether any worker sets the flag; all workers must call this."""
        return bool(self.total(np.asarray([float(flag)]))[0])

    def agreed(self, stop: bool, steps: int) -> tuple[bool, int]:
        """Returns whether any worker wants to stop, and the chief's ``steps``.

        All workers must call this.
        """
        stops, steps = self.total(np.asarray([float(stop), float(steps * self.chief)]))
        return bool(stops), int(steps)

    def wait(self) -> None:
        """Waits until all workers call this."""
        self.any(False)


def require_shares(
    images: int,
    batch_size: int,
    accumulation: int,
    *,
    devices: int,
    batch_norm: str = "synchronized",
) -> None:
    """Checks that the devices can perform every step of an epoch together.

    Args:
        images: Number of training images.
        batch_size: Number of images per batch, of all devices together.
        accumulation: Number of parts in which a device computes its share of a batch.
        devices: Number of devices.
        batch_norm: ``"synchronized"``, or ``"replica"``: the batch norms of each device
            use the statistics of a part of its share only.

    Raises:
        UsageError: The devices' shares of a batch would differ in size, or the shares
            in their number of parts, or the parts would have too few images.
    """
    if batch_size % devices:
        raise UsageError(
            f"batch_size must be a multiple of the number of devices ({devices}), got "
            f"{batch_size}"
        )
    share = batch_size // devices
    part = math.ceil(share / accumulation)
    if batch_norm == "replica" and devices > 1 and (share % part or part) < 2:
        raise UsageError(
            "with batch_norm replica, each of the parts that devices compute must have "
            f"at least 2 images, got batch_size {batch_size} on {devices} devices with "
            f"accumulation {accumulation}; use a larger batch_size or synchronized"
        )
    last = images % batch_size
    if accumulation > 1 and last > devices and last % devices:
        raise UsageError(
            "with accumulation, the size of the last batch must be a multiple of the "
            f"number of devices ({devices}), got {last} of {images} images in batches "
            f"of {batch_size}; choose another batch_size, or accumulation 1"
        )
