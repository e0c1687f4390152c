"""Selects the device, the precision and XLA compilation for a run."""

import os
import re
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from keras_resnet.errors import UsageError
from training.distributed import cluster
from training.storage import system

# Below this many multiply-accumulates per image, bfloat16 gains nothing on a CPU that
# supports it: the measured speedup of ResNet-20 is 0.8× at 8×8 (2.6·10⁶) and 1.6× at
# 14×14 (7.8·10⁶) and 32×32.
BFLOAT16_PAYS_FROM_MACS = 5_000_000

BFLOAT16_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})

POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


@dataclass(frozen=True)
class Hardware:
    """The properties of a device that determine precision and XLA.

    Attributes:
        kind: ``"cpu"`` or ``"gpu"``.
        name: Name to display.
        bfloat16: Whether it computes natively in bfloat16.
        float16: Whether it computes natively in float16.
    """

    kind: str
    name: str
    bfloat16: bool
    float16: bool


@dataclass(frozen=True)
class DevicePlan:
    """The device, precision and XLA setting of a run, with the reasons.

    Attributes:
        hardware: The device.
        precision: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        xla: Whether XLA compiles the training step.
        precision_reason: Reason for the precision.
        xla_reason: Reason for the XLA setting.
    """

    hardware: Hardware
    precision: str
    xla: bool
    precision_reason: str
    xla_reason: str

    @property
    def policy(self) -> str:
        """The Keras dtype policy for the precision (weights stay in float32)."""
        return POLICIES[self.precision]

    def __str__(self) -> str:
        xla = "on" if self.xla else "off"
        return (
            f"{self.hardware.name}; {self.precision} ({self.precision_reason}); "
            f"XLA {xla} ({self.xla_reason})"
        )


def detect_hardware() -> Hardware:
    """Returns the first GPU visible to TensorFlow, or else the CPU."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        major, _ = details.get("compute_capability", (0, 0))
        # CUDA C++ guide, "compute capabilities": half-precision tensor cores exist from
        # 7.0, bfloat16 from 8.0.
        name = details.get("device_name", "GPU")
        return Hardware("gpu", name, bfloat16=major >= 8, float16=major >= 7)
    return cpu(system.cpu_info())


def cpu(cpuinfo: str) -> Hardware:
    """Returns the CPU described by the text of ``/proc/cpuinfo`` on Linux."""
    name = re.search(r"^model name\s*: (.*)$", cpuinfo, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", cpuinfo, re.MULTILINE)
    known = set(flags[1].split()) if flags else set()
    bfloat16 = bool(known & BFLOAT16_CPU_FLAGS)
    return Hardware("cpu", name[1] if name else "CPU", bfloat16, float16=False)


def peak_memory() -> float:
    """Returns the peak memory in GiB of the first GPU, or else of the process."""
    if tf.config.list_logical_devices("GPU"):
        return float(tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**30)
    return system.peak_memory() / 2**30


def make_strategy() -> Any:
    """Returns a strategy for all devices and workers; None for a single device.

    It connects to the other workers of ``TF_CONFIG``. Call it before using TensorFlow.
    """
    if cluster.tf_config(os.environ):
        return tf.distribute.MultiWorkerMirroredStrategy()
    devices = tf.config.list_logical_devices("GPU")
    devices = devices or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return None
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def plan_device(
    hardware: Hardware, *, precision: str, xla: str, macs: int, replicas: int = 1
) -> DevicePlan:
    """Returns the requested or automatically chosen precision and XLA setting.

    Args:
        hardware: The device.
        precision: ``"auto"``, or a key of ``POLICIES`` to force.
        xla: ``"auto"``, ``"on"`` or ``"off"``.
        macs: The network's multiply-accumulates per image.
        replicas: Number of devices that train together.

    Raises:
        UsageError: ``precision`` or ``xla`` has another value, or one that is
            impossible on several devices.
    """
    if precision not in (*POLICIES, "auto"):
        raise UsageError(
            f"precision must be one of auto, {', '.join(POLICIES)}, got {precision!r}"
        )
    if xla not in ("auto", "on", "off"):
        raise UsageError(f"xla must be one of auto, on, off, got {xla!r}")
    if replicas > 1:
        if xla == "on" or precision == "float16":
            value = "xla on" if xla == "on" else "precision float16"
            raise UsageError(
                f"xla must be off and precision float32 or bfloat16 on {replicas} "
                f"devices, got {value}; use auto"
            )
        # TensorFlow's collectives can neither be compiled nor run inside the condition
        # under which the gradients of a scaled loss are applied.
        xla = "off"
        hardware = replace(hardware, float16=False)
    chosen, reason = _precision(hardware, macs)
    if precision != "auto":
        chosen, reason = precision, "as requested"
    if xla != "auto":
        why = "as requested" if replicas == 1 else f"{replicas} devices train together"
        return DevicePlan(hardware, chosen, xla == "on", reason, why)
    if hardware.kind == "gpu":
        return DevicePlan(hardware, chosen, True, reason, "fuses operations on a GPU")
    return DevicePlan(hardware, chosen, False, reason, "slower than oneDNN on a CPU")


def _precision(hardware: Hardware, macs: int) -> tuple[str, str]:
    if hardware.kind == "gpu":
        if hardware.bfloat16:
            return "bfloat16", "the GPU supports it"
        if hardware.float16:
            return "float16", "the GPU has no bfloat16; the loss is scaled"
        return "float32", "the GPU has no fast half precision"
    if not hardware.bfloat16:
        return "float32", "the CPU has no bfloat16"
    if macs < BFLOAT16_PAYS_FROM_MACS:
        return "float32", "bfloat16 gains nothing for such a small network on a CPU"
    return "bfloat16", "the CPU supports it"
