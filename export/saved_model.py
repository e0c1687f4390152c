"""Exports a run for TensorFlow Serving: ``python -m export.saved_model RUN``."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from export import manifest, versions
from export.description import LABELS, Description
from export.graph_options import GraphOptions
from keras_resnet import command
from keras_resnet.errors import UsageError
from training.runs.run import Run
from training.storage.writing import report_write_errors, require_writable

if TYPE_CHECKING:
    from export.serving import Serving

MEANINGS = {
    "image": "raw pixels, 0–255: (N, height, width, channels)",
    "image_bytes": "contents of JPEG, PNG, GIF, BMP or WebP files: (N,)",
    "probabilities": "of each class, summing to 1: (N, classes)",
    "class_id": "the most probable class, from 0: (N,)",
    "label": "name of that class: (N,)",
    "features": "input of the last, linear layer: (N, features)",
}


@dataclass(frozen=True, kw_only=True)
class Options(GraphOptions):
    """Export the model of a run as a SavedModel, in a new version folder of DIR."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    out: Path
    """Folder of the versions: DIR/1, then DIR/2, …"""
    keep: int = 0
    """Number of newest versions to keep; 0: all."""
    overwrite: bool = False
    """Replace the newest version. (TensorFlow Serving notices new numbers only.)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep < 0:
            raise UsageError(f"keep must be at least 0, got {self.keep}")


def export(
    run: Run, out: Path, form: GraphOptions | None = None, *, overwrite: bool = False
) -> Path:
    """Writes ``out/N/``, where N is one above the highest version; returns its path.

    A server that watches ``out`` sees the complete version or none, even if this
    process is killed.

    Args:
        run: A complete run.
        out: Folder of the versions.
        form: Options of the graph; None: the defaults.
        overwrite: Whether to replace the newest version instead.

    Raises:
        UsageError: The run is incomplete, ``out`` is a version itself, or the disk is
            full.
    """
    run.require_complete()
    versions.require_no_version(out)
    require_writable(out / "1")
    from export.serving import Serving

    form = form or GraphOptions()
    listed = Description.of_run(run.config).files()[LABELS]
    with tempfile.TemporaryDirectory() as assets:
        labels = Path(assets, LABELS)
        # Errors in reading the run must not be reported as errors of ``out``.
        serving = Serving(run, labels, form)
        with report_write_errors(out), versions.draft(out) as draft:
            labels.write_text(listed, "utf-8")
            _write(serving, run, draft, form)
            return (versions.replace if overwrite else versions.publish)(draft, out)


def _write(serving: "Serving", run: Run, folder: Path, form: GraphOptions) -> None:
    import tensorflow as tf

    from export import warmup
    from training.data.preprocessing import Preprocessing

    config = run.config
    tf.saved_model.save(serving, str(folder), serving.signatures)
    preprocessing = Preprocessing.from_dict(config["preprocessing"])
    warmup.write(folder, config["model"]["name"], warmup.requests(preprocessing))
    facts = {
        "format": "SavedModel",
        "compute": form.compute,
        "frozen": form.freeze,
        "folded": form.folded,
        "max_pixels": form.max_pixels,
        "signatures": _signatures(serving),
    }
    manifest.write(folder, {**facts, **manifest.source(run)})


def _signatures(serving: "Serving") -> dict[str, Any]:
    """Describes the inputs and outputs of each signature."""

    def described(specs: dict[str, Any]) -> dict[str, Any]:
        return {
            name: {
                "type": spec.dtype.name,
                "shape": spec.shape.as_list(),
                "meaning": MEANINGS[name],
            }
            for name, spec in sorted(specs.items())
        }

    found = {}
    for name, function in serving.signatures.items():
        concrete = function.get_concrete_function()
        (image,) = concrete.structured_input_signature[0]
        found[name] = {
            "inputs": described({image.name: image}),
            "outputs": described(concrete.structured_outputs),
        }
    return found


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m export.saved_model")
    run = Run.open(options.run)
    run.require_complete()
    versions.require_no_version(options.out)
    require_writable(options.out / "1")
    command.load_backend()
    path = export(run, options.out, options, overwrite=options.overwrite)
    print(f"SavedModel: {path}")
    with report_write_errors(options.out):
        removed = versions.prune(options.out, options.keep, path)
    for old in removed:
        print(f"removed: {old}")


if __name__ == "__main__":
    command.run(main)
