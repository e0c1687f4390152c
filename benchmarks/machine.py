"""The machine that is measured on: what it is, and the most that it can do."""

import os
import platform
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from turns import Contender, Results, Step

if TYPE_CHECKING:
    import tensorflow as tf

PACKAGES = ("tensorflow", "keras")

SIDE = 4096  # of the square matrices
IMAGES, PIXELS, CHANNELS = 16, 28, 256  # of the convolution, in and out


def describe() -> str:
    """Names processor, cores and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text("utf-8") if cpuinfo.is_file() else ""
    named = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    name = named[1] if named else platform.processor() or platform.machine()
    parts = [name, f"{os.cpu_count()} cores"]
    for package in PACKAGES:
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(parts)


def _step(compute: "Callable[[], tf.Tensor]") -> Step:
    import tensorflow as tf

    # One number back, so that no time goes into copying the rest.
    compiled = tf.function(lambda: tf.reshape(compute(), [-1])[0])
    return lambda: compiled().numpy()


def product(precision: str, batch: int) -> Step:
    """Returns a product of two square matrices, whatever the batch."""
    import tensorflow as tf

    matrix = tf.cast(tf.random.normal((SIDE, SIDE)), precision)
    return _step(lambda: tf.matmul(matrix, matrix))


def convolution(precision: str, batch: int) -> Step:
    """Returns a 3×3 convolution, whatever the batch."""
    import tensorflow as tf

    images = tf.random.normal((IMAGES, PIXELS, PIXELS, CHANNELS))
    images = tf.cast(images, precision)
    kernel = tf.cast(tf.random.normal((3, 3, CHANNELS, CHANNELS)), precision)
    return _step(lambda: tf.nn.conv2d(images, kernel, 1, "SAME"))


PEAKS = {
    "product": Contender("a matrix product", product),
    "convolution": Contender("a 3×3 convolution", convolution),
}
OPERATIONS = {  # floating-point, of a step
    "product": 2 * SIDE**3,
    "convolution": 2 * IMAGES * PIXELS**2 * 9 * CHANNELS**2,
}


def report_peaks(results: Results, rates: dict[str, float]) -> None:
    """Prints the best of ``PEAKS``, and what share of them the medians of others are.

    Args:
        results: Those of ``PEAKS`` among them.
        rates: Floating-point operations a second, by name for people.
    """
    peaks = {k: n / min(results[k].seconds) for k, n in OPERATIONS.items()}
    for key, peak in peaks.items():
        print(f"  {PEAKS[key].name}: {peak / 1e9:.0f} GFLOP/s")
    for name, rate in rates.items():
        shares = [f"{rate / peak:.2f} of {PEAKS[k].name}" for k, peak in peaks.items()]
        print(f"  {name}: {rate / 1e9:.0f} GFLOP/s, {', '.join(shares)}")
