"""Selects the functions of Keras' backend, with which a run computes."""

import keras

if keras.backend.backend() == "jax":
    from training.distributed.jax_backend import (
        DeviceError,
        compiled,
        detect_hardware,
        library_versions,
        make_deterministic,
        make_replicas,
        peak_memory,
        profiled_step,
        start_profile,
        stop_profile,
    )
else:
    from training.distributed.tensorflow_backend import (
        DeviceError,
        compiled,
        detect_hardware,
        library_versions,
        make_deterministic,
        make_replicas,
        peak_memory,
        profiled_step,
        start_profile,
        stop_profile,
    )

__all__ = [
    "DeviceError",
    "compiled",
    "detect_hardware",
    "library_versions",
    "make_deterministic",
    "make_replicas",
    "peak_memory",
    "profiled_step",
    "start_profile",
    "stop_profile",
]
