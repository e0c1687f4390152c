"""Where a run computes, in which precision, and whether XLA compiles its step."""

import os
import re
import resource
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_resnet.errors import UsageError
from training.distributed import cluster

# Below this many multiply-accumulates an image, bfloat16 gains nothing on a CPU that
# has it: measured 0.8× for ResNet-20 at 8×8 (2.6·10⁶) and 1.6× at 14×14 (7.8·10⁶) and
# 32×32.
BFLOAT16_PAYS_FROM_MACS = 5_000_000

BFLOAT16_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})

POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


@dataclass(frozen=True)
class Hardware:
    """What decides precision and XLA.

    Attributes:
        kind: ``"cpu"`` or ``"gpu"``.
        name: For people.
        bfloat16: It computes in bfloat16 natively.
        float16: It computes in float16 natively.
    """

    kind: str
    name: str
    bfloat16: bool
    float16: bool


@dataclass(frozen=True)
class DevicePlan:
    """What was chosen, and why.

    Attributes:
        hardware: The device.
        precision: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        xla: XLA compiles the training step.
        precision_reason: Why that precision.
        xla_reason: Why that.
    """

    hardware: Hardware
    precision: str
    xla: bool
    precision_reason: str
    xla_reason: str

    @property
    def policy(self) -> str:
        """The Keras dtype policy of that precision (float32 weights)."""
        return POLICIES[self.precision]

    def __str__(self) -> str:
        xla = "on" if self.xla else "off"
        return (
            f"{self.hardware.name}; {self.precision} ({self.precision_reason}); "
            f"XLA {xla} ({self.xla_reason})"
        )


def detect_hardware() -> Hardware:
    """Returns the first GPU that TensorFlow sees, else the CPU."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        major, _ = details.get("compute_capability", (0, 0))
        # CUDA C++ guide, "compute capabilities": half-precision tensor cores from
        # 7.0, bfloat16 from 8.0.
        name = details.get("device_name", "GPU")
        return Hardware("gpu", name, bfloat16=major >= 8, float16=major >= 7)
    facts = Path("/proc/cpuinfo")
    text = facts.read_text(encoding="utf-8") if facts.is_file() else ""
    return cpu(text)


def cpu(cpuinfo: str) -> Hardware:
    """Returns the CPU that the text of Linux' ``/proc/cpuinfo`` describes."""
    name = re.search(r"^model name\s*: (.*)$", cpuinfo, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", cpuinfo, re.MULTILINE)
    known = set(flags[1].split()) if flags else set()
    bfloat16 = bool(known & BFLOAT16_CPU_FLAGS)
    return Hardware("cpu", name[1] if name else "CPU", bfloat16, float16=False)


def peak_memory() -> float:
    """Returns the most memory used so far, GiB: the first GPU's, else the process'."""
    if tf.config.list_logical_devices("GPU"):
        return float(tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**30)
    unit = 1 if sys.platform == "darwin" else 2**10  # getrusage(2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def make_strategy() -> Any:
    """Connects with the other workers of ``TF_CONFIG``, and takes in all devices.

    To be called before TensorFlow is otherwise used. Returns None for one device.
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
    """Chooses precision and XLA, or takes what is forced.

    Args:
        hardware: The device.
        precision: ``"auto"`` or the one to force.
        xla: ``"auto"``, ``"on"`` or ``"off"``.
        macs: The network's multiply-accumulates per image.
        replicas: Devices that train together.

    Raises:
        UsageError: ``precision`` or ``xla`` is none of these, or impossible on several
            devices.
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
                f"devices, got {value}; leave it to auto"
            )
        # TensorFlow's collectives cannot be compiled, nor be part of the condition
        # under which a scaled loss is applied.
        xla = "off"
        hardware = replace(hardware, float16=False)
    chosen, reason = _precision(hardware, macs)
    if precision != "auto":
        chosen, reason = precision, "as asked for"
    if xla != "auto":
        why = "as asked for" if replicas == 1 else f"{replicas} devices train together"
        return DevicePlan(hardware, chosen, xla == "on", reason, why)
    if hardware.kind == "gpu":
        return DevicePlan(hardware, chosen, True, reason, "fuses operations on a GPU")
    return DevicePlan(hardware, chosen, False, reason, "slower than oneDNN on a CPU")


def _precision(hardware: Hardware, macs: int) -> tuple[str, str]:
    if hardware.kind == "gpu":
        if hardware.bfloat16:
            return "bfloat16", "the GPU has it"
        if hardware.float16:
            return "float16", "the GPU has no bfloat16; the loss is scaled"
        return "float32", "the GPU has no fast half precision"
    if not hardware.bfloat16:
        return "float32", "the CPU has no bfloat16"
    if macs < BFLOAT16_PAYS_FROM_MACS:
        return "float32", "bfloat16 gains nothing for so small a network on a CPU"
    return "bfloat16", "the CPU has it"
