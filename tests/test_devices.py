from typing import Any

import pytest
import tensorflow as tf

from keras_resnet.errors import UsageError
from training.distributed.backend import backend
from training.distributed.devices import BFLOAT16_PAYS_FROM_MACS, plan_device
from training.distributed.hardware import Hardware, cpu
from training.distributed.memory import explain_memory_errors

X86 = """processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 9V74 80-Core Processor
flags\t\t: fpu sse2 avx2 avx512f {}
vmx flags\t: bf16
"""
ARM = """processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm {} sve
CPU implementer\t: 0x41
"""

SMALL, LARGE = BFLOAT16_PAYS_FROM_MACS - 1, BFLOAT16_PAYS_FROM_MACS
CPU = Hardware("cpu", "old CPU", bfloat16=False, float16=False)
CPU_BF16 = Hardware("cpu", "new CPU", bfloat16=True, float16=False)
GPU_BF16 = Hardware("gpu", "H200", bfloat16=True, float16=True)
GPU_FP16 = Hardware("gpu", "V100", bfloat16=False, float16=True)
GPU_FP32 = Hardware("gpu", "P100", bfloat16=False, float16=False)
ALL = (CPU, CPU_BF16, GPU_BF16, GPU_FP16, GPU_FP32)


@pytest.mark.parametrize(
    "text, name, bfloat16",
    [
        (X86.format("avx512_bf16"), "AMD EPYC 9V74 80-Core Processor", True),
        (X86.format("amx_bf16 amx_tile"), "AMD EPYC 9V74 80-Core Processor", True),
        (X86.format("avx512_fp16"), "AMD EPYC 9V74 80-Core Processor", False),
        (ARM.format("bf16"), "CPU", True),
        (ARM.format("svebf16x"), "CPU", False),
        ("", "CPU", False),
    ],
)
def test_cpu_is_read_from_cpuinfo(text: str, name: str, bfloat16: bool) -> None:
    amx = "amx_bf16" in text
    expected = Hardware("cpu", name, bfloat16=bfloat16, float16=False, amx=amx)
    assert cpu(text) == expected


@pytest.mark.parametrize(
    "details, bfloat16, float16",
    [
        ({"compute_capability": (9, 0), "device_name": "H200"}, True, True),
        ({"compute_capability": (8, 0)}, True, True),
        ({"compute_capability": (7, 5)}, False, True),
        ({"compute_capability": (6, 1)}, False, False),
        ({}, False, False),
    ],
)
def test_gpu_is_read_from_its_compute_capability(
    details: dict[str, Any],
    bfloat16: bool,
    float16: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: details)
    name = details.get("device_name", "GPU")
    assert backend.detect_hardware() == Hardware(
        "gpu", name, bfloat16=bfloat16, float16=float16
    )


def test_without_a_gpu_the_cpu_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    hardware = backend.detect_hardware()
    assert hardware.kind == "cpu"
    assert hardware.name


@pytest.mark.parametrize(
    "hardware, macs, precision, xla",
    [
        (CPU, SMALL, "float32", False),
        (CPU, LARGE, "float32", False),
        (CPU_BF16, SMALL, "float32", False),
        (CPU_BF16, LARGE, "bfloat16", False),
        (GPU_BF16, SMALL, "bfloat16", True),
        (GPU_BF16, LARGE, "bfloat16", True),
        (GPU_FP16, LARGE, "float16", True),
        (GPU_FP32, LARGE, "float32", True),
    ],
)
def test_auto(hardware: Hardware, macs: int, precision: str, xla: bool) -> None:
    placed = plan_device(hardware, precision="auto", xla="auto", macs=macs)
    assert (placed.hardware, placed.precision, placed.xla) == (hardware, precision, xla)
    assert placed.precision_reason
    assert placed.xla_reason
    for part in (hardware.name, precision, placed.precision_reason, placed.xla_reason):
        assert part in str(placed)


@pytest.mark.parametrize("hardware", ALL, ids=lambda hardware: hardware.name)
@pytest.mark.parametrize("macs", [SMALL, LARGE])
@pytest.mark.parametrize("xla", ["on", "off"])
@pytest.mark.parametrize(
    "precision, policy",
    [
        ("float32", "float32"),
        ("bfloat16", "mixed_bfloat16"),
        ("float16", "mixed_float16"),
    ],
)
def test_forced_values_are_taken(
    hardware: Hardware, macs: int, xla: str, precision: str, policy: str
) -> None:
    placed = plan_device(hardware, precision=precision, xla=xla, macs=macs)
    assert (placed.precision, placed.policy) == (precision, policy)
    assert placed.xla == (xla == "on")
    assert placed.precision_reason == placed.xla_reason == "as requested"


@pytest.mark.parametrize("hardware", ALL, ids=lambda hardware: hardware.name)
@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16", "float16"])
def test_xla_is_automatic_on_gpus_only(hardware: Hardware, precision: str) -> None:
    placed = plan_device(hardware, precision=precision, xla="auto", macs=LARGE)
    assert placed.xla == (hardware.kind == "gpu")


@pytest.mark.parametrize(
    "choice, message",
    [
        ({"precision": "fp16"}, "precision must be one of auto, .*, got 'fp16'"),
        ({"precision": ""}, "precision must be one of auto, .*, got ''"),
        ({"xla": "yes"}, "xla must be one of auto, on, off, got 'yes'"),
    ],
)
def test_wrong_choice_is_refused(choice: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_device(CPU, **{"precision": "auto", "xla": "auto", "macs": 1, **choice})


@pytest.mark.parametrize(
    ("error", "explained"),
    [
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating x"), True),
        (tf.errors.ResourceExhaustedError(None, None, "No space left on disk"), False),
        (tf.errors.InvalidArgumentError(None, None, "ROOM.jpg is damaged"), False),
        (ValueError("OOM when allocating x"), False),
    ],
)
def test_only_a_lack_of_memory_is_explained_as_one(
    error: Exception, explained: bool
) -> None:
    expected = UsageError if explained else type(error)
    with pytest.raises(expected) as raised, explain_memory_errors(32, 2):
        raise error
    assert ("--accumulation 4" in str(raised.value)) == explained
