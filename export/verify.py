"""Compares an artifact with its run: ``python -m export.verify ARTIFACT RUN``."""

import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from tqdm import tqdm

from export import description, manifest
from export.load import Artifact, choose, find
from export.runtimes import readers
from export.verification.compare import COMPARED, MAX_DROP, Difference, Tolerances
from export.verification.safety_checks import require_safe
from export.worker import Worker
from keras_resnet import command
from keras_resnet.errors import Stopped, UsageError
from training.runs.run import Run
from training.storage.writing import write_json

if TYPE_CHECKING:
    from export.verification.reference import Reference


@dataclass(frozen=True)
class Options:
    """Compare an artifact with its run on real test images, in separate processes.

    The files must match the manifest, the labels must be the run's, and a SavedModel
    must not contain operations that reach outside the graph. Then each installed
    runtime that reads the artifact classifies test images, in a process independent of
    this project. The exit status is 0 only if all of them find the same network.
    """

    artifact: tyro.conf.Positional[Path]
    """Version folder of a SavedModel, folder of versions, .tflite or .onnx file."""
    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    images: int = 500
    """Number of images of the test split to compare on, spread evenly."""
    runtimes: tuple[str, ...] = ()
    """Any of tensorflow, c-api, openvino, litert, onnxruntime; if omitted, all
    installed ones except c-api."""
    c_api: bool = False
    """Also build (with cc) and run a C program that uses TensorFlow's C library."""
    max_drop: float = MAX_DROP
    """Largest loss of accuracy, in points (0.01), below 32 bits of precision."""
    dataset: str | None = None
    """Current location of the run's data set, if it has moved."""


def verify(
    artifact: Path,
    run: Run,
    images: int = 500,
    *,
    runtimes: tuple[str, ...] = (),
    max_drop: float = MAX_DROP,
    dataset: str | None = None,
) -> dict[str, Any]:
    """Compares an artifact with its run and adds the result to RUN/artifacts.json.

    If that file cannot be written, it prints a warning to stderr.

    Args:
        artifact: A path as for ``export.load.find``.
        run: A complete run.
        images: Number of test images.
        runtimes: Keys of ``export.runtimes.RUNTIMES``; empty: all installed but c-api.
        max_drop: Largest loss of accuracy, in points, below 32 bits of precision.
        dataset: Current location of the run's data set; None: unchanged.

    Returns:
        ``path``, ``format``, ``size`` in bytes, ``manifest`` (its ``path`` and
        ``sha256``), ``same``, ``tolerance`` in words, ``runtimes``, and the values of
        the first runtime. For each runtime: its ``version``, the packages of this
        project that it ``imported``, its ``latency`` in seconds for one image (if the
        artifact stays loaded between calls), and the differences for ``pixels`` and, if
        it supports them, for ``bytes`` of image files and for what the run's last layer
        computes from the ``features``.

    Raises:
        UsageError: The artifact or a runtime is missing, or the run is incomplete.
        Stopped: The artifact has changed, is unsafe, cannot be loaded, has other labels
            or signatures, or returns values that are not finite.
    """
    run.require_complete()
    found = located(artifact)
    names = _runtimes(found, runtimes)
    facts = require_safe(found, manifest_needed=True)
    proven = manifest.fingerprint(found.path)
    _require_described(found, run)
    tolerances = Tolerances(manifest.is_rounded(facts), max_drop)
    with tempfile.TemporaryDirectory() as folder:
        from export.verification.reference import make_reference

        question = make_reference(run, Path(folder), images, dataset)
        bar = tqdm(names, unit="runtime", disable=None, delay=2, leave=False)
        answers = {name: _answer(found, name, Path(folder), question) for name in bar}
    result = {
        "path": str(found.path),
        "format": found.kind,
        "size": found.size,
        "manifest": proven,
        "same": all(
            tolerances.allow(name, value)
            for name, answer in answers.items()
            for value in answer.values()
            if isinstance(value, Difference)
        ),
        "tolerance": tolerances.describe(names),
        "runtimes": {name: _plain(answer) for name, answer in answers.items()},
        **_plain(answers[names[0]]),
    }
    _keep(result, run)
    return result


def _keep(result: dict[str, Any], run: Run) -> None:
    """Adds the result to the run's folder, or prints a warning if that fails."""
    try:
        kept = {**run.artifacts, result["path"]: result}
        write_json(run.path / "artifacts.json", kept)
    except (OSError, ValueError) as error:
        print(f"warning: not stored in the run's folder: {error}", file=sys.stderr)


def located(artifact: Path) -> Artifact:
    """Returns the artifact at a path.

    Raises:
        UsageError: The path has no artifact.
    """
    try:
        return find(artifact)
    except FileNotFoundError as error:
        raise UsageError(str(error)) from None


def _runtimes(artifact: Artifact, wanted: tuple[str, ...]) -> list[str]:
    usual = [name for name in readers(artifact.kind) if name != "c-api"]
    names: tuple[str | None, ...] = wanted or (*usual,) or (None,)
    try:
        return [choose(artifact.kind, name) for name in names]
    except ValueError as error:
        raise UsageError(str(error)) from None


def _require_described(artifact: Artifact, run: Run) -> None:
    """Raises Stopped unless labels, size, channels and crop are the run's."""
    try:
        found = asdict(description.read(artifact))
    except ValueError as error:
        raise Stopped(f"not loaded: {error}") from None
    expected = asdict(description.Description.of_run(run.config))
    if others := [name for name in expected if found[name] != expected[name]]:
        raise Stopped(
            f"not the same network: {' and '.join(others)} must be the run's, got "
            f"different values in {artifact.path}"
        )


def _answer(
    artifact: Artifact, runtime: str, folder: Path, question: "Reference"
) -> dict[str, Any]:
    """Loads the artifact and classifies the folder's images in a separate process."""
    try:
        with Worker(artifact.path, runtime) as worker:
            facts = worker.tell(classify=str(folder))
            facts["version"] = worker.facts["version"]
            if worker.facts["stays"]:
                facts["latency"] = worker.latency()
    except RuntimeError as error:
        raise Stopped(f"artifact must load in {runtime}, got: {error}") from None
    return {**facts, **question.judge(folder, runtime)}


def _plain(answer: dict[str, Any]) -> dict[str, Any]:
    """Converts the differences to dictionaries, for JSON."""
    return {
        name: asdict(value) if isinstance(value, Difference) else value
        for name, value in answer.items()
    }


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m export.verify")
    run = Run.open(options.run)
    run.require_complete()
    if options.images < 1:
        raise UsageError(f"images must be at least 1, got {options.images}")
    found = located(options.artifact)
    runtimes = options.runtimes
    if options.c_api:
        others = runtimes or tuple(readers(found.kind))
        runtimes = tuple(dict.fromkeys((*others, "c-api")))
    _runtimes(found, runtimes)
    # All processes use the CPU: two cannot share the memory of one GPU, which also
    # rounds products more coarsely.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    command.load_backend()
    result = verify(
        found.path,
        run,
        options.images,
        runtimes=runtimes,
        max_drop=options.max_drop,
        dataset=options.dataset,
    )
    report(result, run)


def report(result: dict[str, Any], run: Run) -> None:
    """Prints the result of ``verify``.

    Raises:
        Stopped: The artifact differs from the run by more than the tolerance.
    """
    print(f"{result['format']}: {result['path']} ({result['size'] / 2**20:.2f} MiB)")
    for name, answer in result["runtimes"].items():
        for inputs in filter(answer.__contains__, COMPARED):
            difference = Difference(**answer[inputs])
            print(f"  {name} {answer['version']}, {inputs}: {difference}")
        if "latency" in answer:
            milliseconds = 1e3 * answer["latency"]
            print(f"  {name} {answer['version']}, one image: {milliseconds:.2f} ms")
    if not result["same"]:
        raise Stopped(
            f"not the same network: {result['path']} must match {run.path} within "
            f"{result['tolerance']}"
        )
    print(f"  the same network as {run.path} (within {result['tolerance']})")


if __name__ == "__main__":
    command.run(main)
