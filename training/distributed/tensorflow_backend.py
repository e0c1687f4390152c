"""Uses TensorFlow's devices and compiler."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, partial
from typing import Any

import numpy as np
import tensorflow as tf

from training.data.types import Tensor
from training.distributed import cluster
from training.distributed.hardware import Hardware, cpu, gpu
from training.distributed.replicas import Replicas
from training.distributed.strategy import StrategyReplicas
from training.storage import system

start_profile: Any = tf.profiler.experimental.start
stop_profile: Any = tf.profiler.experimental.stop
profiled_step: Any = partial(tf.profiler.experimental.Trace, _r=1)  # 1: it marks a step
ending_soon: Any = nullcontext  # a worker that fails exits without waiting


def detect_hardware() -> Hardware:
    """Returns the first GPU visible to TensorFlow, or else the CPU."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return cpu(system.cpu_info())
    details = tf.config.experimental.get_device_details(gpus[0])
    major, _ = details.get("compute_capability", (0, 0))
    return gpu(details.get("device_name", "GPU"), major)


def peak_memory() -> float:
    """Returns the peak memory in GiB of the first GPU, or else of the process."""
    if tf.config.list_logical_devices("GPU"):
        return float(tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**30)
    return system.peak_memory() / 2**30


def make_replicas() -> Replicas:
    """Returns the replicas on all devices and workers.

    It connects to the other workers of ``TF_CONFIG``. Call it before using TensorFlow.
    """
    if cluster.tf_config(os.environ):
        return StrategyReplicas(tf.distribute.MultiWorkerMirroredStrategy())
    devices = tf.config.list_logical_devices("GPU")
    devices = devices or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return Replicas()
    return StrategyReplicas(_mirrored(*[device.name for device in devices]))


@cache
def _mirrored(*devices: str) -> tf.distribute.Strategy:
    """Returns the strategy of these devices.

    There is one in a process: a second one would name its exchanges as the first does,
    which TensorFlow reports as a mismatch where their shapes differ.
    """
    return tf.distribute.MirroredStrategy(devices)


def make_deterministic() -> None:
    """Selects algorithms that give the same bits in every run."""
    tf.config.experimental.enable_op_determinism()


def compiled(
    function: Callable[..., Any], variables: Callable[[], list[Any]], *, xla: bool
) -> Callable[..., Tensor]:
    """Returns a function of tensors as a graph.

    Args:
        function: Maps tensors to tensors; reads variables, but updates none.
        variables: Returns the variables that it reads.
        xla: Whether to compile it with XLA.
    """
    del variables  # a graph refers to them
    return _traced_once(tf.function(function, autograph=False, jit_compile=xla))


def _traced_once(graph: Any) -> Callable[..., Tensor]:
    """Returns a graph's function, which is traced for batches of any size.

    The last batch, which may be smaller, needs no trace of its own. Another
    shape of the images is traced in the same way, so that the results do not depend on
    which shape comes first.

    Args:
        graph: A ``tf.function`` whose arguments all begin with the batch's dimension.
    """
    traced: set[tuple[Any, ...]] = set()

    def call(*batch: Any) -> Tensor:
        # What several replicas share out has no single shape.
        if all(isinstance(x, tf.Tensor | np.ndarray) for x in batch):
            specs = tuple(tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in batch)
            if specs not in traced:
                traced.add(specs)
                graph.get_concrete_function(*specs)
        return graph(*batch)

    return call


def is_out_of_memory(error: Exception) -> bool:
    """Checks whether a computation failed for lack of memory, not of disk space."""
    exhausted = isinstance(error, tf.errors.ResourceExhaustedError)
    return exhausted and "OOM when allocating" in str(error)


def is_lost(error: Exception) -> bool:
    """Checks whether a computation failed because another worker is gone."""
    return isinstance(error, tf.errors.UnavailableError | tf.errors.AbortedError)


def library_versions(hardware: Hardware) -> dict[str, str]:
    """Returns the CUDA and cuDNN versions of TensorFlow's build, for a GPU."""
    built = tf.sysconfig.get_build_info() if hardware.kind == "gpu" else {}
    names = {"cuda": "cuda_version", "cudnn": "cudnn_version"}
    return {name: str(built[key]) for name, key in names.items() if key in built}
