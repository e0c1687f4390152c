"""``python -m export.saved_model RUN --out DIR``: the format of TensorFlow Serving."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro

from export.load import versions
from keras_resnet import command
from training.runs import Run, written_to


@dataclass(frozen=True)
class Options:
    """Export a run's network as a SavedModel, in a new version folder of DIR."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    out: Path
    """Folder of the versions: DIR/1, next time DIR/2, …"""


def export(run: Run, out: Path) -> Path:
    """Writes ``out/N/``, N one above the highest version there; returns its path.

    The folder is written under a hidden name and renamed when it is complete, so that
    a server that watches ``out`` sees it whole or not at all.

    Raises:
        UsageError: The run is not complete, or the disk is full.
    """
    import tensorflow as tf

    from export.serving import Serving

    run.require_complete()
    with written_to(out):
        out.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=out, prefix=".draft-"))
        try:
            with tempfile.TemporaryDirectory() as assets:
                labels = Path(assets, "labels.txt")
                lines = "".join(f"{x}\n" for x in run.config["dataset"]["labels"])
                labels.write_text(lines, encoding="utf-8")
                serving = Serving(run, labels)
                tf.saved_model.save(serving, str(draft), serving.signatures)
            return _publish(draft, out)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _publish(draft: Path, out: Path) -> Path:
    """Renames the draft to the next free version number."""
    draft.chmod(0o755)
    while True:
        target = out / str(max(versions(out), default=0) + 1)
        try:
            os.rename(draft, target)
        except OSError:  # another export took the number
            if not target.exists():
                raise
        else:
            return target


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m export.saved_model")
    run = Run.open(options.run)
    run.require_complete()
    command.start_backend()
    print(f"SavedModel: {export(run, options.out)}")


if __name__ == "__main__":
    command.run(main)
