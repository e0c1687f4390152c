"""Reports measurements of ``export.benchmark`` as a table, advice, a plot and JSON."""

import platform
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from export.benchmarking.candidates import PLAIN
from export.benchmarking.measurement import Measurement
from keras_resnet.describe import align
from keras_resnet.figures.fonts import savefig
from training.storage.writing import (
    make_folder,
    report_write_errors,
    write_atomically,
    write_json,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def hardware() -> str:
    """Returns the processor's name, the number of cores and the operating system."""
    import psutil

    from training.distributed.backend import backend

    name = backend.detect_hardware().name
    return f"{name}, {psutil.cpu_count()} cores, {platform.system()}"


def describe(measured: list[Measurement]) -> str:
    """Returns the measurements as a table, followed by advice."""
    baseline = next((m for m in measured if m.name.startswith(PLAIN)), None)
    head = ("artifact", "runtime", "MiB", "top-1", "median ms", "p99 ms", "images/s")
    rows = [(*head, "batch", "× plain")]
    for m in measured:
        times = f"{baseline.latency / m.latency:.2f}" if baseline else "-"
        rows.append(
            (
                *(m.name, m.runtime, f"{m.size / 2**20:.2f}"),
                "-" if m.accuracy is None else f"{m.accuracy:.4f}",
                *(f"{1e3 * m.latency:.2f}", f"{1e3 * m.latency99:.2f}"),
                *(f"{m.throughput:.1f}", str(m.batch), times),
            )
        )
    lines = align(rows, "<<" + ">" * (len(rows[0]) - 2))  # numbers to the right
    return "\n".join([hardware(), "", *lines, "", *advice(measured)]) + "\n"


def advice(measured: list[Measurement]) -> list[str]:
    """Returns one line each for CPU, GPU and phone: which artifact to choose."""
    ours = [m for m in measured if not m.name.startswith(PLAIN)]
    here = {
        device: [m for m in ours if m.device == device] for device in ("CPU", "GPU")
    }
    phone = [m for m in ours if m.runtime.startswith("litert")]
    return [
        f"CPU: {_fastest(here['CPU'], 'none was measured')}",
        "GPU: "
        + _fastest(
            here["GPU"],
            "a SavedModel in tensorflow, or ONNX in onnxruntime-gpu; none was measured "
            "on a GPU here",
        ),
        f"phone: {_fastest(phone, 'a .tflite file, int8; none was measured')}"
        + (" (by the speed on this CPU)" if phone else ""),
    ]


def _fastest(measured: list[Measurement], otherwise: str) -> str:
    if not measured:
        return otherwise
    quick = min(measured, key=lambda m: m.latency)
    busy = max(measured, key=lambda m: m.throughput)
    line = f"{_named(quick)}, {1e3 * quick.latency:.2f} ms per image"
    if busy is quick:
        return f"{line}, {busy.throughput:.1f} images/s"
    return f"{line}; in batches: {_named(busy)}, {busy.throughput:.1f} images/s"


def _named(m: Measurement) -> str:
    known = "" if m.accuracy is None else f" (top-1 {m.accuracy:.4f})"
    return f"{m.name} in {m.runtime}{known}"


def write(measured: list[Measurement], out: Path) -> None:
    """Writes ``benchmark.json``, ``.svg`` and ``.png`` into a folder.

    Raises:
        UsageError: The disk is full, or the folder is not writable.
    """
    values = {
        "hardware": hardware(),
        "python": platform.python_version(),
        "measurements": [asdict(m) for m in measured],
        "advice": advice(measured),
    }
    with report_write_errors(out):
        make_folder(out)
        write_json(out / "benchmark.json", values)
        figure = plot(measured)
        for kind in ("svg", "png"):
            write_atomically(out / f"benchmark.{kind}", partial(savefig, figure))


def plot(measured: list[Measurement]) -> "Figure":
    """Returns a figure of the latency, with its 99th percentile, and the throughput."""
    from matplotlib.figure import Figure

    figure = Figure((11, 1.5 + 0.45 * len(measured)), layout="constrained", dpi=150)
    left, right = figure.subplots(1, 2, sharey=True)
    places = range(len(measured))
    names = [f"{m.name}\n{m.runtime}" for m in measured]
    colours = ["0.6" if m.name.startswith(PLAIN) else "C0" for m in measured]
    latency = [1e3 * m.latency for m in measured]
    tails = [1e3 * (m.latency99 - m.latency) for m in measured]
    bars = left.barh(
        places, latency, xerr=[[0] * len(tails), tails], color=colours, capsize=2
    )
    left.bar_label(bars, fmt="%.1f", padding=3, fontsize=7)
    left.set(xlabel="one image, ms (whisker: 99th percentile)")
    left.margins(x=0.15)
    left.set_yticks(places, names, fontsize=7)
    left.invert_yaxis()
    bars = right.barh(places, [m.throughput for m in measured], color=colours)
    labels = [f"{m.throughput:.0f} (batch {m.batch})" for m in measured]
    right.bar_label(bars, labels, padding=3, fontsize=7)
    right.set(xlabel="images per second at the best batch size")
    right.margins(x=0.3)
    figure.suptitle(hardware(), fontsize=8)
    return figure
