"""Selects the device, the precision and XLA compilation for a run."""

from dataclasses import dataclass, replace

import keras

from keras_resnet.errors import UsageError, require_choice
from training.distributed.hardware import Hardware

# Below this many multiply-accumulates per image, bfloat16 gains nothing on a CPU that
# supports it: the measured speedup of ResNet-20 is 0.8× at 8×8 (2.6·10⁶) and 1.6× at
# 14×14 (7.8·10⁶) and 32×32.
BFLOAT16_PAYS_FROM_MACS = 5_000_000

POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


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


def plan_device(
    hardware: Hardware,
    *,
    precision: str,
    xla: str,
    macs: int,
    replicas: int = 1,
    batch_norm: str = "synchronized",
) -> DevicePlan:
    """Returns the requested or automatically chosen precision and XLA setting.

    Args:
        hardware: The device.
        precision: ``"auto"``, or a key of ``POLICIES`` to force.
        xla: ``"auto"``, ``"on"`` or ``"off"``.
        macs: The network's multiply-accumulates per image.
        replicas: Number of devices that train together.
        batch_norm: ``"synchronized"``, or ``"replica"``: the devices exchange nothing
            during a forward or backward pass, so XLA can compile it.

    Raises:
        UsageError: ``precision`` or ``xla`` has another value, or a value is impossible
            with the backend or on several devices.
    """
    _require_possible(precision, xla, replicas, batch_norm)
    chosen, reason = precision, "as requested"
    if precision == "auto":
        # TensorFlow's collectives cannot run inside the condition under which the
        # gradients of a scaled loss are applied.
        alone = replicas == 1 or _on_jax()
        able = replace(hardware, float16=hardware.float16 and alone)
        chosen, reason = _precision(able, macs)
    exchanging = replicas if batch_norm == "synchronized" else 1
    compiles, why = _xla(hardware, xla, exchanging)
    return DevicePlan(hardware, chosen, compiles, reason, why)


def _on_jax() -> bool:
    return keras.backend.backend() == "jax"


def _require_possible(precision: str, xla: str, replicas: int, batch_norm: str) -> None:
    # A run's stored precision has not been checked as a recipe's fields are.
    require_choice("precision", precision, ("auto", *POLICIES))
    require_choice("xla", xla, ("auto", "on", "off"))
    if _on_jax():
        if xla == "off":
            raise UsageError("xla must be auto or on with KERAS_BACKEND=jax, got 'off'")
        if replicas > 1 and batch_norm == "replica":
            raise UsageError(
                "batch_norm must be synchronized on several devices with "
                "KERAS_BACKEND=jax, got 'replica'; use KERAS_BACKEND=tensorflow, or "
                "one device"
            )
    elif replicas > 1:
        _require_possible_with_tensorflow(precision, xla, replicas, batch_norm)


def _require_possible_with_tensorflow(
    precision: str, xla: str, replicas: int, batch_norm: str
) -> None:
    if precision == "float16":
        raise UsageError(
            f"precision must be float32 or bfloat16 on {replicas} devices, got "
            "float16; use auto"
        )
    if xla == "on" and batch_norm == "synchronized":
        raise UsageError(
            f"xla must be auto or off on {replicas} devices with batch_norm "
            "synchronized, got on; use auto, or batch_norm replica"
        )


def _xla(hardware: Hardware, xla: str, replicas: int) -> tuple[bool, str]:
    if _on_jax():
        return True, "JAX compiles every step"
    if replicas > 1:  # TensorFlow's collectives cannot be compiled
        return False, f"{replicas} devices train together"
    if xla != "auto":
        return xla == "on", "as requested"
    if hardware.kind == "gpu":
        return True, "fuses operations on a GPU"
    return False, "slower than oneDNN on a CPU"


def _precision(hardware: Hardware, macs: int) -> tuple[str, str]:
    if hardware.kind != "cpu":
        if hardware.bfloat16:
            return "bfloat16", f"the {hardware.kind.upper()} supports it"
        if hardware.float16:
            return "float16", "the GPU has no bfloat16; the loss is scaled"
        return "float32", "the GPU has no fast half precision"
    if not hardware.bfloat16:
        return "float32", "the CPU has no bfloat16"
    if macs >= BFLOAT16_PAYS_FROM_MACS and not _on_jax():
        return "bfloat16", "the CPU supports it"
    small = "bfloat16 gains nothing for such a small network on a CPU"
    return "float32", "JAX does not use oneDNN on a CPU" if _on_jax() else small
