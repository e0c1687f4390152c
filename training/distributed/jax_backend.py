"""Uses JAX's devices and compiler; TensorFlow only reads the data, on the CPU."""

import os
import re
from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np
import tensorflow as tf

from training.data.types import Tensor
from training.distributed import jax_processes
from training.distributed.hardware import Hardware, cpu, gpu
from training.distributed.replicas import Replicas
from training.storage import system

tf.config.set_visible_devices([], "GPU")  # it would claim the memory that JAX needs

start_profile: Any = jax.profiler.start_trace
stop_profile: Any = jax.profiler.stop_trace
profiled_step: Any = jax.profiler.StepTraceAnnotation
ending_soon = jax_processes.ending_soon
is_lost = jax_processes.is_lost


def detect_hardware() -> Hardware:
    """Returns JAX's first device."""
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return cpu(system.cpu_info())
    if device.platform == "gpu":
        capability = str(getattr(device, "compute_capability", ""))
        numeric = re.fullmatch(r"\d+\.\d+", capability)  # AMD's is a name
        return gpu(device.device_kind, float(capability) if numeric else 0)
    return Hardware(device.platform, device.device_kind, bfloat16=True, float16=False)


def peak_memory() -> float:
    """Returns the peak memory in GiB of the first device, or else of the process."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return float(stats.get("peak_bytes_in_use", system.peak_memory()) / 2**30)


def make_replicas() -> Replicas:
    """Returns the replicas on all devices and workers.

    It connects to the other workers of ``TF_CONFIG``. Call it before using JAX.
    """
    return jax_processes.connect(os.environ)


def make_deterministic() -> None:
    """Selects algorithms that give the same bits in every run.

    Call it before anything is computed.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()


def compiled(
    function: Callable[..., Any], variables: Callable[[], list[Any]], *, xla: bool
) -> Callable[..., Tensor]:
    """Returns a function of tensors, compiled; see ``tensorflow_backend``."""
    del xla  # JAX always uses it

    @jax.jit
    def pure(values: list[Any], *arguments: Any) -> Any:
        mapping = list(zip(variables(), values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return function(*arguments)

    def call(*arguments: Any) -> Any:
        arrays = [x if isinstance(x, jax.Array) else np.asarray(x) for x in arguments]
        return pure([v.value for v in variables()], *arrays)

    return call


def is_out_of_memory(error: Exception) -> bool:
    """Checks whether a computation failed for lack of memory."""
    failed = isinstance(error, jax.errors.JaxRuntimeError)
    return failed and str(error).startswith("RESOURCE_EXHAUSTED")


def library_versions(hardware: Hardware) -> dict[str, str]:
    """Returns the versions of JAX and of what its device runs on."""
    found = {"jax": jax.__version__}
    if hardware.kind != "cpu":
        found["platform"] = " ".join(
            jax.local_devices()[0].client.platform_version.split()
        )
    return found
