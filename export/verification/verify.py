"""Compares an artifact with its run, in processes independent of this project."""

import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from export.load import Artifact
from export.metadata import manifest
from export.metadata.description import Description, read
from export.runtimes import readers
from export.verification.compare import MAX_DROP, Difference, Tolerances
from export.verification.safety_checks import (
    choose_runtimes,
    find_artifact,
    require_safe,
)
from export.worker import Worker
from keras_resnet.errors import Stopped
from training.runs.run import Run
from training.storage.writing import write_json

if TYPE_CHECKING:
    from export.verification.reference import Reference

Answer = dict[str, Any]  # what a runtime found out


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

    Args:
        artifact: A path as for ``export.load.find``.
        run: A complete run.
        images: Number of test images.
        runtimes: Keys of ``export.runtimes.RUNTIMES``; empty: all installed but c-api.
        max_drop: Largest loss of accuracy, in points, below 32 bits of precision.
        dataset: Current location of the run's data set; None: unchanged.

    Returns:
        ``path``, ``format``, ``size`` in bytes, ``manifest`` (its ``path`` and
        ``sha256``), ``same``, ``tolerance`` in words, ``runtimes`` (for each its
        ``version``, ``latency`` in seconds for one image, and differences), and the
        values of the first runtime.

    Raises:
        UsageError: The artifact or a runtime is missing, or the run is incomplete.
        Stopped: The artifact has changed, is unsafe, cannot be loaded, has other labels
            or signatures, or returns values that are not finite.
    """
    run.require_complete()
    found = find_artifact(artifact)
    usual = [name for name in readers(found.kind) if name != "c-api"]
    names = choose_runtimes(found.kind, runtimes or usual)
    facts = require_safe(found, manifest_needed=True)
    proven = manifest.fingerprint(found.path)
    _require_described(found, run)
    answers = _ask(found, names, run, images, dataset)
    tolerances = Tolerances(manifest.is_rounded(facts), max_drop)
    result = _result(found, proven, answers, tolerances)
    _keep(result, run)
    return result


def _require_described(artifact: Artifact, run: Run) -> None:
    """Raises Stopped unless labels, size, channels and crop are the run's."""
    try:
        found = asdict(read(artifact))
    except ValueError as error:
        raise Stopped(f"not loaded: {error}") from None
    expected = asdict(Description.of_run(run.config))
    others = [
        f"{name} must be the run's, {expected[name]!s:.60}, got {value!s:.60}"
        for name, value in found.items()
        if value != expected[name]
    ]
    if others:
        raise Stopped(
            f"not the same network: {' and '.join(others)}, in {artifact.path}"
        )


def _ask(
    artifact: Artifact, runtimes: list[str], run: Run, images: int, dataset: str | None
) -> dict[str, Answer]:
    """Returns what each runtime finds out about the artifact."""
    from export.verification.reference import make_reference

    with tempfile.TemporaryDirectory() as folder:
        reference = make_reference(run, Path(folder), images, dataset)
        bar = tqdm(runtimes, unit="runtime", disable=None, delay=2, leave=False)
        return {
            name: _ask_runtime(artifact, name, Path(folder), reference) for name in bar
        }


def _ask_runtime(
    artifact: Artifact, runtime: str, folder: Path, reference: "Reference"
) -> Answer:
    """Loads the artifact and classifies the folder's images in a separate process.

    Returns:
        The runtime's ``version``, the packages of this project that it ``imported``,
        ``latency`` if the artifact stays loaded between calls, and differences for
        ``pixels`` and, if it supports them, for ``bytes`` of image files and for what
        the run's last layer computes from the ``features``.
    """
    try:
        with Worker(artifact.path, runtime) as worker:
            facts = worker.request(classify=str(folder))
            facts["version"] = worker.facts["version"]
            if worker.facts["stays"]:
                facts["latency"] = worker.latency()
    except RuntimeError as error:
        raise Stopped(f"artifact must load in {runtime}, got: {error}") from None
    return {**facts, **reference.judge(folder, runtime)}


def _result(
    artifact: Artifact,
    proven: dict[str, str],
    answers: dict[str, Answer],
    tolerances: Tolerances,
) -> dict[str, Any]:
    """Returns the result as JSON values."""
    plain = {name: _plain(answer) for name, answer in answers.items()}
    return {
        "path": str(artifact.path),
        "format": artifact.kind,
        "size": artifact.size,
        "manifest": proven,
        "same": all(
            tolerances.allow(name, value)
            for name, answer in answers.items()
            for value in answer.values()
            if isinstance(value, Difference)
        ),
        "tolerance": tolerances.describe([*answers]),
        "runtimes": plain,
        **next(iter(plain.values())),
    }


def _plain(answer: dict[str, Any]) -> dict[str, Any]:
    """Converts the differences to dictionaries, for JSON."""
    return {
        name: asdict(value) if isinstance(value, Difference) else value
        for name, value in answer.items()
    }


def _keep(result: dict[str, Any], run: Run) -> None:
    """Adds the result to the run's folder, or prints a warning if that fails."""
    try:
        kept = {**run.artifacts, result["path"]: result}
        write_json(run.path / "artifacts.json", kept)
    except (OSError, ValueError) as error:
        print(f"warning: not stored in the run's folder: {error}", file=sys.stderr)
