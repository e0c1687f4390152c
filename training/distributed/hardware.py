"""Describes the device of a run."""

import re
from dataclasses import dataclass

BFLOAT16_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


@dataclass(frozen=True)
class Hardware:
    """The properties of a device that determine precision and XLA.

    Attributes:
        kind: ``"cpu"``, ``"gpu"`` or ``"tpu"``.
        name: Name to display.
        bfloat16: Whether it computes natively in bfloat16.
        float16: Whether it computes natively in float16.
        amx: Whether it is a CPU with matrix units for bfloat16.
    """

    kind: str
    name: str
    bfloat16: bool
    float16: bool
    amx: bool = False


def cpu(cpuinfo: str) -> Hardware:
    """Returns the CPU described by the text of ``/proc/cpuinfo`` on Linux."""
    name = re.search(r"^model name\s*: (.*)$", cpuinfo, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", cpuinfo, re.MULTILINE)
    known = set(flags[1].split()) if flags else set()
    bfloat16 = bool(known & BFLOAT16_CPU_FLAGS)
    label = name[1] if name else "CPU"
    return Hardware("cpu", label, bfloat16, float16=False, amx="amx_bf16" in known)


def gpu(name: str, capability: float) -> Hardware:
    """Returns an NVIDIA GPU.

    Args:
        name: Name to display.
        capability: CUDA's compute capability; 0: unknown.
    """
    # CUDA C++ guide, "compute capabilities": half-precision tensor cores exist from
    # 7.0, bfloat16 from 8.0.
    return Hardware("gpu", name, bfloat16=capability >= 8, float16=capability >= 7)
