"""Trains with JAX on the devices of one or several processes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from training.data.types import Share, Tensor
from training.distributed.replicas import Replicas


class ShardedReplicas(Replicas):
    """Devices that share every batch, while each holds all of the model.

    A step is computed as if one device had the whole batch: XLA adds the exchanges, so
    batch norms use the statistics of all images. Between steps, each process has the
    model on its own devices, with which it evaluates its share of the images.

    Args:
        devices: The devices of all processes, grouped by process, equally many each. A
            batch that they cannot share evenly, such as the last one of an epoch, is
            computed as a whole on each.
    """

    def __init__(self, devices: Sequence[jax.Device]) -> None:
        self.worker = jax.process_index()
        own = [device for device in devices if device.process_index == self.worker]
        self.count, self.workers = len(devices), len(devices) // len(own)
        self._all, self._own = _Placement(devices), _Placement(own)
        self.replicated = self._all.replicated
        self._gather = jax.jit(lambda rows: rows, out_shardings=self.replicated)

    @property
    def shares(self) -> list[Share]:
        """The part of every batch that this worker reads."""
        return [(self.worker, self.workers)]

    def batches(self, of: Callable[[Share], Iterable[Any]]) -> Iterator[Any]:
        """Yields batches whose examples are spread over this worker's devices.

        The copy to the devices goes on while they compute the steps before.
        """
        for batch in of(self.shares[0]):
            yield tuple(self._own.put(values, len(values)) for values in batch)

    def training_batches(
        self, of: Callable[[Share, int | None], Iterable[Any]], sizes: Sequence[int]
    ) -> Iterator[Any]:
        """Yields batches whose examples are spread over all devices."""
        for batch, size in zip(of(self.shares[0], self.count), sizes, strict=True):
            yield tuple(self._all.put(values, size) for values in batch)

    def to_all(self, values: Any) -> Any:
        """Returns arrays of this worker, which all workers have, on all devices."""
        own = jax.device_put(values, self._own.replicated)
        return jax.tree.map(self._all.adopt, own)

    def to_worker(self, values: Any) -> Any:
        """Returns arrays on all devices as arrays of this worker."""
        return jax.tree.map(self._own.adopt, values)

    def total(self, values: np.ndarray) -> np.ndarray:
        """Returns the sum over workers, in float64."""
        if self.workers == 1:
            return values
        # JAX's floats have 32 bits; bytes keep all 64.
        bits = np.asarray(values, np.float64, order="C").view(np.uint8)
        each = self.count // self.workers
        rows = self._all.put(np.stack([bits] * each), self.count)
        return np.asarray(self._gather(rows))[::each].view(np.float64).sum(0)


class _Placement:
    """How arrays lie on devices: a part of the rows on each, or all of an array."""

    def __init__(self, devices: Sequence[jax.Device]) -> None:
        mesh = Mesh(np.array(devices), ("batch",))
        self._split = NamedSharding(mesh, PartitionSpec("batch"))
        self.replicated = NamedSharding(mesh, PartitionSpec())

    def put(self, values: Tensor, size: int) -> jax.Array:
        """Places this process' part of ``size`` rows, or all of them if uneven."""
        even = size % self._split.num_devices == 0
        return jax.make_array_from_process_local_data(
            self._split if even else self.replicated, np.asarray(values)
        )

    def adopt(self, array: jax.Array) -> jax.Array:
        """Returns this process' copies of an array as an array on these devices."""
        copies = [shard.data for shard in array.addressable_shards]
        return jax.make_array_from_single_device_arrays(
            array.shape, self.replicated, copies
        )
