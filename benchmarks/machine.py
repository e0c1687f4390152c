"""Describes the machine of a measurement and measures its peak performance."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from interleaved import Candidate, Results, Step

PACKAGES = ("tensorflow", "keras", "jax", "jaxlib", "torch", "torchvision")

PIXELS, CHANNELS = 28, 256  # of the convolution's input and output


@dataclass(frozen=True)
class Size:
    """Amount of computation that measures the peak performance of a device.

    Attributes:
        side: Side of the square matrices.
        images: Images of the convolution.
        times: Repetitions of either in a step, one after the other.
    """

    side: int
    images: int
    times: int


SIZES = {"cpu": Size(4096, 16, 1), "gpu": Size(8192, 256, 10)}


def describe() -> str:
    """Returns the processor, cores, any GPU, its driver and memory, and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text("utf-8") if cpuinfo.is_file() else ""
    match = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    name = match[1] if match else platform.processor() or platform.machine()
    parts = [name, f"{os.cpu_count()} cores"]
    if shutil.which("nvidia-smi"):
        fields = "--query-gpu=name,driver_version,memory.total"
        query = ("nvidia-smi", fields, "--format=csv,noheader")
        result = subprocess.run(query, capture_output=True, text=True, check=False)
        parts += result.stdout.split("\n")[:1] if result.returncode == 0 else []
    # A package may be installed under another name, such as tensorflow-cpu.
    distributions = packages_distributions()
    for package in PACKAGES:
        if package in distributions:
            parts.append(f"{package} {version(distributions[package][0])}")
    return ", ".join(parts)


def _gpu() -> bool:
    """Returns whether Keras' backend computes on a GPU."""
    import keras

    devices = keras.distribution.list_devices()
    return not all(name.startswith("cpu") for name in devices)


def _size() -> Size:
    return SIZES["gpu" if _gpu() else "cpu"]


def _step(compute: Callable[[Any, Any], Any], x: Any, by: Any) -> Step:
    """Returns a step that computes repeatedly and waits for the last result.

    Results are not copied, because copying would take time.

    Args:
        compute: Maps two tensors to one like the first.
        x: First tensor, with variance one.
        by: Second tensor; it must give results with variance one again.
    """
    import keras

    times = _size().times

    def repeated(x: Any, by: Any) -> Any:
        for _ in range(times):
            x = compute(x, by)
        return x

    if keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(repeated)
        return lambda: jax.block_until_ready(compiled(x, by))
    import tensorflow as tf

    traced = tf.function(lambda: tf.reshape(repeated(x, by), [-1])[0])
    return lambda: traced().numpy()


def _noise(shape: tuple[int, ...], deviation: float, precision: str) -> Any:
    import keras

    noise = keras.random.normal(shape, stddev=deviation)
    return keras.ops.cast(noise, precision)


def product(precision: str, batch: int) -> Step:
    """Returns a step of products of two square matrices; ``batch`` has no effect."""
    import keras

    side = _size().side
    matrices = [_noise((side, side), d, precision) for d in (1.0, side**-0.5)]
    return _step(keras.ops.matmul, *matrices)


def convolution(precision: str, batch: int) -> Step:
    """Returns a step of 3×3 convolutions; ``batch`` has no effect."""
    import keras

    images = _noise((_size().images, PIXELS, PIXELS, CHANNELS), 1.0, precision)
    kernel = _noise((3, 3, CHANNELS, CHANNELS), (9 * CHANNELS) ** -0.5, precision)
    return _step(partial(keras.ops.conv, padding="same"), images, kernel)


PEAKS = {
    "product": Candidate("a matrix product", product),
    "convolution": Candidate("a 3×3 convolution", convolution),
}


def _operations() -> dict[str, int]:
    """Returns the floating-point operations of a step of each of ``PEAKS``."""
    size = _size()
    return {
        "product": size.times * 2 * size.side**3,
        "convolution": size.times * 2 * size.images * PIXELS**2 * 9 * CHANNELS**2,
    }


def report_peaks(results: Results, rates: dict[str, float]) -> None:
    """Prints the best rates of ``PEAKS`` and the shares of them that others reach.

    Args:
        results: Results that include those of ``PEAKS``.
        rates: Floating-point operations per second of the others, by name to print.
    """
    peaks = {k: n / min(results[k].seconds) for k, n in _operations().items()}
    for key, peak in peaks.items():
        print(f"  {PEAKS[key].name}: {peak / 1e9:,.0f} GFLOP/s")
    for name, rate in rates.items():
        shares = [f"{rate / peak:.2f} of {PEAKS[k].name}" for k, peak in peaks.items()]
        print(f"  {name}: {rate / 1e9:,.0f} GFLOP/s, {', '.join(shares)}")
