"""Coordinates the replicas of a model on one or several devices and machines."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_resnet.errors import UsageError
from training.data.types import Share, Tensor


class Replicas:
    """The copies of a model that are trained as one.

    All differences between one device, several devices and several machines are in this
    class; on one device it adds no cost.

    Args:
        strategy: TensorFlow's distribution strategy; None: one device.

    Attributes:
        count: Number of replicas on all workers.
        chief: Whether this worker writes files and prints.
        workers: Number of workers.
    """

    def __init__(self, strategy: Any = None) -> None:
        self.strategy = strategy or tf.distribute.get_strategy()
        self.count: int = self.strategy.num_replicas_in_sync
        resolver = self.strategy.cluster_resolver
        workers = resolver and resolver.cluster_spec().as_dict()
        self.workers = sum(map(len, workers.values())) if workers else 1
        self._worker, self.chief = 0, True
        if workers:
            is_chief = resolver.task_type == "chief"
            ahead = 0 if is_chief else len(workers.get("chief", ()))
            self._worker = ahead + resolver.task_id
            self.chief = self._worker == 0

    @property
    def shares(self) -> list[Share]:
        """This worker's shares of every batch, one per replica."""
        here = self.count // self.workers
        first = self._worker * here
        return [(first + i, self.count) for i in range(here)]

    def batches(self, of: Callable[[Share], Iterable[Any]]) -> Iterator[Any]:
        """Yields the batches of this worker's shares, one step of all replicas at once.

        Args:
            of: Maps a share to its batches; all shares have the same number of batches.
        """
        parts = [of(share) for share in self.shares]
        if self.count == 1:
            yield from parts[0]
            return
        for batches in zip(*parts, strict=True):
            elements = zip(*batches, strict=True)
            yield tuple(self._distributed(values) for values in elements)

    def _distributed(self, values: Sequence[Tensor]) -> Any:
        first = self.shares[0][0]

        def value(context: Any) -> Tensor:
            return values[context.replica_id_in_sync_group - first]

        return self.strategy.experimental_distribute_values_from_function(value)

    def run(self, step: Callable[..., Tensor], *batch: Any) -> Any:
        """Runs a step on every replica of this worker."""
        return self.strategy.run(step, args=batch)

    def summed(self, values: Any) -> Tensor:
        """Returns the sum over all replicas of a result of ``run``."""
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)

    def locals(self, value: Any) -> tuple[Tensor, ...]:
        """Returns the values of a variable or result on this worker's replicas."""
        return self.strategy.experimental_local_results(value)

    def total(self, values: np.ndarray) -> np.ndarray:
        """Returns the sum over workers, in float64."""
        if self.workers == 1:
            return values
        zeros = [np.zeros_like(values)] * (len(self.shares) - 1)
        held = [tf.constant(x, tf.float64) for x in (values, *zeros)]
        return np.asarray(self.summed(self._distributed(held)))

    def gather(self, values: np.ndarray) -> np.ndarray:
        """Returns every worker's values ``(N,)``, as float64 ``(workers, N)``."""
        rows = np.zeros((self.workers, len(values)))
        rows[self._worker] = values
        return self.total(rows)

    def from_chief(self, values: Sequence[int]) -> list[int]:
        """Returns the chief's values on all workers."""
        summand = np.asarray(values, np.float64) * self.chief
        return [int(value) for value in self.total(summand)]

    def any(self, flag: bool) -> bool:
        """Returns whether any worker sets the flag; all workers must call this."""
        return bool(self.total(np.asarray([float(flag)]))[0])

    def wait(self) -> None:
        """Waits until all workers call this."""
        self.any(False)


def global_count(values: Tensor) -> Tensor:
    """Returns a batch's number of examples on all replicas, float32, in a step.

    A sum over this replica's examples, divided by this number, is the replica's part of
    the mean over the whole batch, even if replicas hold different numbers of examples.

    Args:
        values: One entry for each example of this replica.
    """
    context = tf.distribute.get_replica_context()
    return context.all_reduce(
        tf.distribute.ReduceOp.SUM, tf.cast(tf.shape(values)[0], tf.float32)
    )


def clip_gradients(gradients: Sequence[Tensor], norm: float) -> list[Tensor]:
    """Returns a replica's gradients, scaled to clip the norm of their overall sum.

    Args:
        gradients: The gradients of this replica.
        norm: Maximum norm of the sum over all replicas.
    """
    context = tf.distribute.get_replica_context()
    whole = context.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients))
    scale = norm / tf.maximum(tf.linalg.global_norm(whole), norm)
    return [scale * part for part in gradients]


def require_shares(
    images: int, batch_size: int, accumulation: int, *, devices: int
) -> None:
    """Checks that the devices can perform every step of an epoch together.

    Args:
        images: Number of training images.
        batch_size: Number of images per batch, of all devices together.
        accumulation: Number of parts in which a device computes its share of a batch.
        devices: Number of devices.

    Raises:
        UsageError: The devices' shares of a batch would differ in size, or the shares
            in their number of parts.
    """
    if batch_size % devices:
        raise UsageError(
            f"batch_size must be a multiple of the number of devices ({devices}), got "
            f"{batch_size}"
        )
    last = images % batch_size
    if accumulation > 1 and last > devices and last % devices:
        raise UsageError(
            "with accumulation, the size of the last batch must be a multiple of the "
            f"number of devices ({devices}), got {last} of {images} images in batches "
            f"of {batch_size}; choose another batch_size, or accumulation 1"
        )
