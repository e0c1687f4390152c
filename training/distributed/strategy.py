"""Trains with TensorFlow on several devices and machines."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import tensorflow as tf

from training.data.types import Share, Tensor
from training.distributed.replicas import Replicas


class StrategyReplicas(Replicas):
    """The copies of a model under a distribution strategy of TensorFlow.

    Args:
        strategy: A mirrored strategy.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        self.count = self.parts = strategy.num_replicas_in_sync
        resolver = strategy.cluster_resolver
        workers = resolver and resolver.cluster_spec().as_dict()
        if workers:
            self.workers = sum(map(len, workers.values()))
            is_chief = resolver.task_type == "chief"
            ahead = 0 if is_chief else len(workers.get("chief", ()))
            self.worker = ahead + resolver.task_id

    @property
    def shares(self) -> list[Share]:
        """This worker's shares of every batch, one per replica."""
        here = self.count // self.workers
        first = self.worker * here
        return [(first + i, self.count) for i in range(here)]

    def scope(self) -> AbstractContextManager[Any]:
        """Returns a context in which all replicas get the model's variables."""
        return self._strategy.scope()

    def batches(self, of: Callable[[Share], Iterable[Any]]) -> Iterator[Any]:
        """Yields the batches of this worker's shares, one step of all replicas at once.

        Args:
            of: Maps a share to its batches; all shares have the same number of batches.
        """
        parts = [of(share) for share in self.shares]
        for batches in zip(*parts, strict=True):
            elements = zip(*batches, strict=True)
            yield tuple(self._distributed(values) for values in elements)

    def _distributed(self, values: Sequence[Tensor]) -> Any:
        first = self.shares[0][0]

        def value(context: Any) -> Tensor:
            return values[context.replica_id_in_sync_group - first]

        return self._strategy.experimental_distribute_values_from_function(value)

    def run(self, step: Callable[..., Tensor], *batch: Any) -> Any:
        """Runs a step on every replica of this worker."""
        return self._strategy.run(step, args=batch)

    def summed(self, values: Any) -> Tensor:
        """Returns the sum over all replicas of a result of ``run``."""
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)

    def examples(self, values: Tensor) -> Tensor:
        """Returns a batch's number of examples on all replicas, float32, in a step."""
        context = tf.distribute.get_replica_context()
        return context.all_reduce(
            tf.distribute.ReduceOp.SUM, tf.cast(tf.shape(values)[0], tf.float32)
        )

    def locals(self, value: Any) -> tuple[Tensor, ...]:
        """Returns the values of a variable or result on this worker's replicas."""
        return self._strategy.experimental_local_results(value)

    def total(self, values: np.ndarray) -> np.ndarray:
        """Returns the sum over workers, in float64."""
        if self.workers == 1:
            return values
        zeros = [np.zeros_like(values)] * (len(self.shares) - 1)
        held = [tf.constant(x, tf.float64) for x in (values, *zeros)]
        return np.asarray(self.summed(self._distributed(held)))


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


def average_values(variables: Sequence[Any], share: Tensor) -> None:
    """Gives variables, in a replica, their weighted mean over all replicas.

    Args:
        variables: Variables whose values differ among replicas.
        share: Weight of this replica's values; those of all replicas add up to 1.
    """
    if not variables:  # of which TensorFlow cannot form the sum
        return
    context = tf.distribute.get_replica_context()
    parts = [share * variable.value for variable in variables]
    means = context.all_reduce(tf.distribute.ReduceOp.SUM, parts)
    for variable, mean in zip(variables, means, strict=True):
        variable.assign(mean)
