"""Finds what ``export.benchmark`` measures: artifacts in runtimes, plain exports."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.load import Artifact, find
from export.metadata import manifest
from export.runtimes import RUNTIMES, readers
from export.verification.safety_checks import (
    choose_runtimes,
    find_artifact,
    require_safe,
)
from training.runs.run import Run

PLAIN = "model.export()"
# The C API runs TensorFlow's own kernels and starts a process for each call.
MEASURED = tuple(name for name in RUNTIMES if name != "c-api")


@dataclass(frozen=True)
class Candidate:
    """An artifact in a runtime.

    Attributes:
        name: Name to display.
        artifact: Artifact to load.
        runtime: A key of ``RUNTIMES``.
        accuracy: Share of test images classified correctly; None if unknown.
        environment: Environment variables of its process; None: as for ``Worker``.
    """

    name: str
    artifact: Artifact
    runtime: str
    accuracy: float | None
    environment: Mapping[str, str] | None = None


def find_candidates(
    paths: tuple[Path, ...], wanted: tuple[str, ...]
) -> list[Candidate]:
    """Returns each artifact in each requested runtime that reads it.

    Raises:
        UsageError: An artifact does not exist, or no runtime reads it.
        Stopped: An artifact has changed, or does more than compute.
    """
    found: list[Candidate] = []
    for path in paths:
        artifact = find_artifact(path)
        names = [n for n in readers(artifact.kind) if n in (wanted or MEASURED)]
        names = names or choose_runtimes(artifact.kind, wanted[:1])
        accuracy = _accuracy(require_safe(artifact))
        found += [Candidate(str(path), artifact, name, accuracy) for name in names]
    return found


def _accuracy(facts: dict[str, Any]) -> float | None:
    """Returns the measured accuracy, else for float32 the run's; None if unknown."""
    found = facts.get("accuracy", {}).get("after")
    if found is None and not manifest.is_rounded(facts):
        found = facts.get("run", {}).get("evaluation", {}).get("top1")
    return None if found is None else float(found)


def source_runs(found: list[Candidate]) -> tuple[Path, ...]:
    """Returns the runs that artifacts were made from, where they still exist."""
    paths = []
    for candidate in found:
        try:
            path = Path(manifest.read(candidate.artifact.path)["run"]["path"])
        except (KeyError, ValueError):
            continue
        if Run(path).complete:
            paths.append(path)
    return tuple(dict.fromkeys(paths))


@contextmanager
def plain_exports(
    runs: tuple[Path, ...], environment: Mapping[str, str]
) -> Iterator[list[Candidate]]:
    """Exports runs by Keras' ``model.export`` for the duration of a with block.

    They map normalised images to float32 logits: less work than an artifact does.

    Args:
        runs: Folders of the runs.
        environment: The user's environment variables, for the processes: where
            TensorFlow does not enable oneDNN by itself (a CPU with AVX2 only), one
            image of such an export takes twenty times as long.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for number, path in enumerate(runs):
            from training.experiment.models import load_trained_model

            run = Run.open(path)
            saved = Path(folder, str(number))
            load_trained_model(run).export(saved, verbose=False)
            name = PLAIN if len(runs) == 1 else f"{PLAIN} of {path}"
            accuracy = float(run.evaluated["top1"])
            made.append(
                Candidate(name, find(saved), "tensorflow", accuracy, environment)
            )
        yield made
