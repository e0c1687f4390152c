"""Writes a run as a SavedModel for TensorFlow Serving."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.formats import versions
from export.graph.options import GraphOptions
from export.metadata import manifest
from export.metadata.description import LABELS, Description
from export.runtimes.tensorflow_internals import read_meta_graphs
from training.runs.run import Run
from training.storage.writing import report_write_errors, require_writable

if TYPE_CHECKING:
    from export.graph.serving import Serving

MEANINGS = {
    "image": "raw pixels, 0–255: (N, height, width, channels)",
    "image_bytes": "contents of JPEG, PNG, GIF, BMP or WebP files: (N,)",
    "probabilities": "of each class, summing to 1: (N, classes)",
    "class_id": "the most probable class, from 0: (N,)",
    "label": "name of that class: (N,)",
    "features": "input of the last, linear layer: (N, features)",
}


def export(
    run: Run, out: Path, options: GraphOptions | None = None, *, overwrite: bool = False
) -> Path:
    """Writes ``out/N/``, where N is one above the highest version; returns its path.

    A server that watches ``out`` sees the complete version or none, even if this
    process is killed.

    Args:
        run: A complete run.
        out: Folder of the versions.
        options: Options of the graph; None: the defaults.
        overwrite: Whether to replace the newest version instead.

    Raises:
        UsageError: The run is incomplete, ``out`` is a version itself, or the disk is
            full.
    """
    run.require_complete()
    require_place(out)
    from export.graph.serving import Serving

    options = options or GraphOptions()
    listed = Description.of_run(run.config).files()[LABELS]
    with tempfile.TemporaryDirectory() as assets:
        labels = Path(assets, LABELS)
        # Errors in reading the run must not be reported as errors of ``out``.
        serving = Serving(run, labels, options)
        with report_write_errors(out), versions.draft(out) as draft:
            labels.write_text(listed, "utf-8")
            _write(serving, run, draft, options)
            return (versions.replace if overwrite else versions.publish)(draft, out)


def require_place(out: Path) -> None:
    """Raises UsageError unless versions can be written into ``out``."""
    versions.require_no_version(out)
    require_writable(out / "1")


def _write(serving: "Serving", run: Run, folder: Path, options: GraphOptions) -> None:
    import tensorflow as tf

    from export.formats import warmup
    from training.data.preprocessing import Preprocessing

    config = run.config
    tf.saved_model.save(serving, str(folder), serving.signatures)
    preprocessing = Preprocessing.from_dict(config["preprocessing"])
    warmup.write(folder, config["model"]["name"], warmup.requests(preprocessing))
    facts = {
        "format": "SavedModel",
        "compute": options.compute,
        "frozen": options.freeze,
        "folded": options.folded,
        "max_pixels": options.max_pixels,
        "signatures": _signatures(folder, serving),
    }
    manifest.write(folder, {**facts, **manifest.source(run)})


def _signatures(folder: Path, serving: "Serving") -> dict[str, Any]:
    """Describes the inputs and outputs of each signature, as they were written.

    The functions themselves would be traced a second time for it.
    """
    import tensorflow as tf

    def described(tensors: Any) -> dict[str, Any]:
        return {
            name: {
                "type": tf.as_dtype(tensor.dtype).name,
                "shape": tf.TensorShape(tensor.tensor_shape).as_list(),
                "meaning": MEANINGS[name],
            }
            for name, tensor in sorted(tensors.items())
        }

    (graph,) = read_meta_graphs(folder)
    return {
        name: {
            "inputs": described(graph.signature_def[name].inputs),
            "outputs": described(graph.signature_def[name].outputs),
        }
        for name in serving.signatures
    }
