"""How the replicas of a network work together, on one device or on many machines."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_resnet.errors import UsageError
from training.data.types import Share, Tensor


class Replicas:
    """The copies of a network that are trained as one.

    Everything that differs between one device, several of a machine and several
    machines is here; on one device nothing of it costs anything.

    Args:
        strategy: TensorFlow's; None: one device.

    Attributes:
        strategy: TensorFlow's.
        count: Replicas on all workers together.
        chief: This worker writes files and speaks.
        workers: Their number.
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
        """The parts of every batch that are this worker's, one a replica."""
        here = self.count // self.workers
        first = self._worker * here
        return [(first + i, self.count) for i in range(here)]

    def batches(self, of: Callable[[Share], Iterable[Any]]) -> Iterator[Any]:
        """Yields the batches of this worker's shares, all replicas' of a step at once.

        Args:
            of: Maps a share to its batches, as many for each share.
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
        """The sum over all replicas of what ``run`` returned."""
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)

    def locals(self, value: Any) -> tuple[Tensor, ...]:
        """What each replica of this worker holds of a variable or value."""
        return self.strategy.experimental_local_results(value)

    def total(self, values: np.ndarray) -> np.ndarray:
        """The sum over workers, in float64."""
        if self.workers == 1:
            return values
        zeros = [np.zeros_like(values)] * (len(self.shares) - 1)
        held = [tf.constant(x, tf.float64) for x in (values, *zeros)]
        return np.asarray(self.summed(self._distributed(held)))

    def gathered(self, values: np.ndarray) -> np.ndarray:
        """Every worker's values ``(N,)``, float64 ``(workers, N)``."""
        rows = np.zeros((self.workers, len(values)))
        rows[self._worker] = values
        return self.total(rows)

    def from_chief(self, values: Sequence[int]) -> list[int]:
        """The chief's values, on all workers."""
        own = np.asarray(values, np.float64) * self.chief
        return [int(value) for value in self.total(own)]

    def any(self, flag: bool) -> bool:
        """Whether any worker says so; all workers have to ask."""
        return bool(self.total(np.asarray([float(flag)]))[0])

    def wait(self) -> None:
        """Waits until all workers are here."""
        self.any(False)


def global_count(values: Tensor) -> Tensor:
    """The examples of a batch on all replicas, float32, in a replica's step.

    A sum over this replica's examples, divided by it, is this replica's part of the
    mean over the whole batch, also where replicas hold different numbers.

    Args:
        values: One for each of this replica's examples.
    """
    context = tf.distribute.get_replica_context()
    return context.all_reduce(
        tf.distribute.ReduceOp.SUM, tf.cast(tf.shape(values)[0], tf.float32)
    )


def clipped(gradients: Sequence[Tensor], norm: float) -> list[Tensor]:
    """Shortens a replica's part of the gradients where their sum is too long.

    Args:
        gradients: This replica's.
        norm: The greatest length that the sum over all replicas keeps.
    """
    context = tf.distribute.get_replica_context()
    whole = context.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients))
    scale = norm / tf.maximum(tf.linalg.global_norm(whole), norm)
    return [scale * part for part in gradients]


def require_shares(
    images: int, batch_size: int, accumulation: int, *, devices: int
) -> None:
    """Checks that the devices can take every step of an epoch together.

    Raises:
        UsageError: Their parts of a batch would differ in size, or parts of their
            parts in number.
    """
    if batch_size % devices:
        raise UsageError(
            f"batch_size must be a multiple of the {devices} devices that train "
            f"together, got {batch_size}"
        )
    last = images % batch_size
    if accumulation > 1 and last > devices and last % devices:
        raise UsageError(
            "with accumulation the last batch must be a multiple of the "
            f"{devices} devices, got {last} of {images} images in batches of "
            f"{batch_size}; choose another batch_size, or accumulation 1"
        )
