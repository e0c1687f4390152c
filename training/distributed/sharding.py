"""Trains with JAX on the devices of one process."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from training.data.types import WHOLE, Share, Tensor
from training.distributed.replicas import Replicas


class ShardedReplicas(Replicas):
    """Devices that share every batch, while each holds all of the model.

    A step is computed as if one device had the whole batch: XLA adds the exchanges, so
    batch norms use the statistics of all images.

    Args:
        devices: The devices; a batch that they cannot share evenly, such as the last
            one of an epoch, is computed as a whole on each.
    """

    def __init__(self, devices: Sequence[jax.Device]) -> None:
        self.count = len(devices)
        mesh = Mesh(np.array(devices), ("batch",))
        self._split = NamedSharding(mesh, PartitionSpec("batch"))
        self.replicated = NamedSharding(mesh, PartitionSpec())

    def batches(self, of: Callable[[Share], Iterable[Any]]) -> Iterator[Any]:
        """Yields batches whose examples are spread over the devices.

        The copy to the devices goes on while they compute the steps before.

        Args:
            of: Maps a share to its batches.
        """
        for batch in of(WHOLE):
            yield tuple(self._on_devices(np.asarray(values)) for values in batch)

    def _on_devices(self, values: Tensor) -> jax.Array:
        even = len(values) % self.count == 0
        return jax.device_put(values, self._split if even else self.replicated)
