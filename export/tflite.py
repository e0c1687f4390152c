"""``python -m export.tflite RUN --out FILE``: for phones and small devices."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from keras_resnet import command
from training.runs import Run, write_atomically, written_to


@dataclass(frozen=True)
class Options:
    """Export a run's network as a TensorFlow Lite file."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    out: Path
    """The file; an older one is replaced once the new one is complete."""
    quantize: Literal["none"] = "none"
    """none: float32."""


def export(run: Run, out: Path) -> Path:
    """Writes a float32 flatbuffer, raw pixels → probabilities; returns its path.

    Raises:
        UsageError: The run is not complete, or the disk is full.
    """
    import tensorflow as tf

    from export import saved_model

    run.require_complete()
    with tempfile.TemporaryDirectory() as folder:
        saved = saved_model.export(run, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(saved), signature_keys=["serving_default"]
        )
        with command.descriptor_silenced(2):  # MLIR reports its progress there
            flatbuffer = converter.convert()
    with written_to(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, lambda path: path.write_bytes(flatbuffer))
    return out


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m export.tflite")
    run = Run.open(options.run)
    run.require_complete()
    command.start_backend()
    path = export(run, options.out)
    print(f"TFLite: {path} ({path.stat().st_size / 2**20:.2f} MiB)")


if __name__ == "__main__":
    command.run(main)
