"""``python -m export.verify ARTIFACT RUN``: is the artifact the network of the run?"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro

from keras_resnet import command
from keras_resnet.errors import Stopped, UsageError
from training.runs import Run, write_json

if TYPE_CHECKING:
    from training.datasets import Split
    from training.preprocessing import Preprocessing

# Largest difference of a probability that float32 kernels of different runtimes make.
TOLERANCES = {"SavedModel": 1e-5, "TFLite": 1e-4}
# Artifacts are float32; a run in half precision rounds each activation to 8 or 11 bits.
PRECISION_TOLERANCES = {"float32": 0.0, "bfloat16": 0.1, "float16": 0.01}
AGREEMENT = 0.99  # share of images whose most probable class must be the same


@dataclass(frozen=True)
class Options:
    """Compare an artifact with its run on real test images, in a separate process.

    Exit status 0 only where it is the same network.
    """

    artifact: tyro.conf.Positional[Path]
    """A SavedModel's version folder or folder of versions, or a .tflite file."""
    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    images: int = 500
    """How many images of the test split to compare on, spread evenly over it."""


@dataclass(frozen=True)
class Difference:
    """How two classifiers' probabilities differ on the same images.

    Attributes:
        images: Their number.
        largest: Largest absolute difference of a probability.
        mean: Mean absolute difference.
        agreement: Share of images with the same most probable class.
        accuracy: Share that the artifact classifies rightly.
    """

    images: int
    largest: float
    mean: float
    agreement: float
    accuracy: float

    def __str__(self) -> str:
        return (
            f"max |difference| {self.largest:.1e}, mean {self.mean:.1e}, agreement "
            f"{self.agreement:.2%}, accuracy {self.accuracy:.4f} ({self.images} images)"
        )


def compare(ours: np.ndarray, theirs: np.ndarray, labels: np.ndarray) -> Difference:
    """Compares probabilities ``(N, classes)``, the run's and the artifact's.

    Raises:
        Stopped: They have different shapes, or some are not finite.
    """
    if ours.shape != theirs.shape:
        raise Stopped(
            f"not the same network: probabilities must be {ours.shape}, got "
            f"{theirs.shape}"
        )
    if not np.isfinite(theirs).all():
        raise Stopped("not the same network: some probabilities are not finite")
    differences = np.abs(ours.astype(np.float64) - theirs)
    best = theirs.argmax(-1)
    return Difference(
        images=len(labels),
        largest=float(differences.max()),
        mean=float(differences.mean()),
        agreement=float((ours.argmax(-1) == best).mean()),
        accuracy=float((best == labels).mean()),
    )


def verify(artifact: Path, run: Run, images: int = 500) -> dict[str, Any]:
    """Compares an artifact with its run; the figures also go to RUN/artifacts.json.

    Returns:
        ``path``, ``format``, ``size`` in bytes, ``same``, ``tolerance``, ``imported``
        (packages of this project in the process that loaded it: none), and the
        differences for ``pixels`` and, where the format takes them, for ``bytes`` of
        image files.

    Raises:
        UsageError: The artifact cannot be loaded, or the run is not complete.
        Stopped: It has other classes or gives no numbers.
    """
    from training.preprocessing import Preprocessing
    from training.sources import run_data

    run.require_complete()
    split = run_data(run).split("test")
    count = min(images, len(split))
    split = split.take(np.linspace(0, len(split) - 1, count).astype(int))
    prepared = Preprocessing.from_dict(run.config["preprocessing"])
    with tempfile.TemporaryDirectory() as folder:
        expected = _question(Path(folder), run, split, prepared)
        facts = _answer(artifact, Path(folder))
        found = {
            name: compare(expected, np.load(path), split.labels.numpy())
            for name in ("pixels", "bytes")
            if (path := Path(folder, f"{name}.npy")).is_file()
        }
    precision = run.config["device"]["precision"]
    tolerance = max(TOLERANCES[facts["format"]], PRECISION_TOLERANCES[precision])
    path = Path(facts["path"])
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    result = {
        "path": str(path),
        "format": facts["format"],
        "size": sum(file.stat().st_size for file in files),
        "same": all(
            difference.largest <= tolerance and difference.agreement >= AGREEMENT
            for difference in found.values()
        ),
        "tolerance": tolerance,
        "imported": facts["imported"],
        **{name: asdict(difference) for name, difference in found.items()},
    }
    known = run.artifacts
    write_json(run.path / "artifacts.json", {**known, result["path"]: result})
    return result


def _question(
    folder: Path, run: Run, split: "Split", prepared: "Preprocessing"
) -> np.ndarray:
    """Writes images for the other process; returns the run's probabilities for them."""
    import tensorflow as tf

    from keras_resnet.models import load_model
    from training.images import FILE_CHANNELS
    from training.pipeline import evaluation_batches

    batches = evaluation_batches(split, prepared, len(split))
    pixels, _ = next(iter(batches))
    np.save(folder / "images.npy", pixels.numpy().astype(np.float32))
    (folder / "files").mkdir()
    for index in range(len(split) if prepared.channels in FILE_CHANNELS else 0):
        (folder / "files" / f"{index:06}").write_bytes(split.encoded(index))
    network = load_model(run.model)
    logits = network.predict(prepared.normalise(pixels), batch_size=32, verbose=0)
    return np.asarray(tf.nn.softmax(logits))


def _answer(artifact: Path, folder: Path) -> dict[str, Any]:
    """Has a process of its own load the artifact and classify the folder's images."""
    done = subprocess.run(
        [sys.executable, "-m", "export.load", str(artifact), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        if (folder / "facts.json").is_file():
            raise Stopped(f"not the same network: {artifact} loads, but: {reason}")
        raise UsageError(f"artifact must load, got {artifact}: {reason}")
    return dict(json.loads((folder / "facts.json").read_text(encoding="utf-8")))


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m export.verify")
    run = Run.open(options.run)
    run.require_complete()
    if not options.artifact.exists():
        raise UsageError(f"artifact must exist, got {options.artifact}")
    if options.images < 1:
        raise UsageError(f"images must be at least 1, got {options.images}")
    # Both processes compute on the CPU: one GPU's memory does not serve two, and its
    # products are rounded more coarsely.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    command.start_backend()
    result = verify(options.artifact, run, options.images)
    print(f"{result['format']}: {result['path']}")
    for name in ("pixels", "bytes"):
        if name in result:
            print(f"  {name}: {Difference(**result[name])}")
    if not result["same"]:
        raise Stopped(
            f"not the same network: {result['path']} differs from {run.path} by more "
            f"than {result['tolerance']}, or in the most probable class"
        )
    print(f"  the same network as {run.path} (within {result['tolerance']})")


if __name__ == "__main__":
    command.run(main)
