"""Runs an artifact in a separate process, independently of the rest of this project.

``python -m export.worker ARTIFACT RUNTIME`` loads the artifact, prints a line of JSON
about it, and answers each line of JSON on its standard input with another line:

- ``{"classify": FOLDER}`` classifies the pixels ``FOLDER/pixels.npy`` and, if the
  runtime decodes files, the image files ``FOLDER/files/*``. It writes arrays
  ``FOLDER/RUNTIME-NAME.npy``: the probabilities of these two as ``pixels`` and
  ``bytes``, and, if the artifact returns them, the ``features`` of the pixels and the
  ``class_id`` and ``label`` of the files.
- ``{"time": BATCH}`` classifies a batch of noise and returns the seconds it took.

Failures are answered by ``{"error": REASON}``. ``Worker`` is the client of the process.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any, Self

import numpy as np

from export.load import choose, find
from export.runtimes import RUNTIMES, Array, Session

BATCH_SIZE = 32
PROJECT = ("keras_resnet", "training")
LATENCY_RUNS = 40
LATENCY_WARMUP = 5
LATENCY_SECONDS = 2.0
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}


class LineProcess:
    """A process that answers each line on its standard input with a line.

    As a context manager, it ends the process.

    Args:
        command: Program and arguments.
        environment: Environment variables of the process.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        # A file, unlike a pipe, takes any amount of logs without being read.
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 - close() does
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )

    def send(self, line: str) -> None:
        """Sends a line; a process that has ended does not receive it."""
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def receive(self) -> str:
        """Returns the next answer; the empty text if the process has ended."""
        assert self._process.stdout
        return self._process.stdout.readline()

    def wait(self) -> tuple[int, str]:
        """Waits for the end of the process; returns its status and its stderr."""
        status = self._process.wait()
        self._stderr.seek(0)
        return status, self._stderr.read().strip()

    def close(self) -> None:
        """Ends the process."""
        with suppress(BrokenPipeError):
            self._process.communicate()
        self._stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Worker(LineProcess):
    """Context manager that runs an artifact in a separate process.

    Args:
        artifact: Path of the artifact.
        runtime: A key of ``RUNTIMES``.
        environment: Environment variables of the process; None: those of this process,
            with ``ENVIRONMENT`` for the unset ones.

    Attributes:
        facts: ``version`` of the runtime, its ``device``, ``shape`` of an image, and
            whether the artifact ``stays`` loaded between calls.

    Raises:
        RuntimeError: The process cannot load the artifact or fulfil a request; the
            message is the reason, one line.
    """

    def __init__(
        self, artifact: Path, runtime: str, environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(
            [sys.executable, "-m", "export.worker", str(artifact), runtime],
            {**ENVIRONMENT, **os.environ} if environment is None else environment,
        )
        try:
            self.facts = self._answer()
        except RuntimeError:
            self.close()
            raise

    def request(self, **fields: object) -> dict[str, Any]:
        """Sends a request, as described in the module, and returns the answer."""
        self.send(json.dumps(fields))
        return self._answer()

    def latency(self) -> float:
        """Returns the median seconds for one image, over several runs after a warm-up.

        For slow models it stops after ``LATENCY_SECONDS`` with fewer runs.
        """
        seconds: list[float] = []
        until = time.monotonic() + LATENCY_SECONDS
        for turn in range(LATENCY_WARMUP + LATENCY_RUNS):
            taken = self.request(time=1)["seconds"]
            if turn >= LATENCY_WARMUP:
                seconds.append(taken)
            if seconds and time.monotonic() > until:
                break
        return float(np.median(seconds))

    def _answer(self) -> dict[str, Any]:
        if not (line := self.receive()):
            status, errors = self.wait()
            last = " ".join(errors.splitlines()[-1:])
            raise RuntimeError(f"the process ended with status {status} {last}".strip())
        answer = dict(json.loads(line))
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


def in_batches(
    classify: Callable[[Any], dict[str, Array]], inputs: Any
) -> dict[str, Array]:
    """Classifies in batches, because large networks need much memory per image."""
    starts = range(0, len(inputs), BATCH_SIZE)
    answers = [classify(inputs[i : i + BATCH_SIZE]) for i in starts]
    return {name: np.concatenate([a[name] for a in answers]) for name in answers[0]}


def _classify(session: Session, runtime: str, folder: Path) -> dict[str, Any]:
    def of_pixels(images: Array) -> dict[str, Array]:
        outputs = {"pixels": session.classify(images)}
        if session.features is not None:
            outputs["features"] = session.features(images)
        return outputs

    found = in_batches(of_pixels, np.load(folder / "pixels.npy"))
    files = [path.read_bytes() for path in sorted((folder / "files").iterdir())]
    if files and session.classify_files is not None:
        found |= in_batches(session.classify_files, files)
        found["bytes"] = found.pop("probabilities")
    for name, answer in found.items():
        np.save(folder / f"{runtime}-{name}.npy", answer)
    # Read last, so that imports during inference count too.
    imported = {module.split(".")[0] for module in sys.modules}
    return {"imported": sorted(imported & set(PROJECT))}


def _time(session: Session, batch: int) -> dict[str, Any]:
    noise = np.random.default_rng(0).integers(0, 256, (batch, *session.shape))
    images = noise.astype(np.float32)
    began = time.perf_counter()
    session.classify(images)
    return {"seconds": time.perf_counter() - began}


def _version(package: str) -> str:
    """Returns the version of the distribution, of any name, that has a package."""
    distributions = packages_distributions().get(package)
    return version(distributions[0]) if distributions else "unknown"


def _answer(session: Session, runtime: str, request: dict[str, Any]) -> dict[str, Any]:
    if "classify" in request:
        return _classify(session, runtime, Path(request["classify"]))
    return _time(session, request["time"])


def main() -> None:
    """Serves requests as described in the module."""
    path, runtime = sys.argv[1:]
    # TensorFlow imports JAX wherever it is installed, which no artifact needs.
    sys.modules["jax"] = None  # type: ignore[assignment]
    # C++ libraries may write to descriptor 1, so the answers use another one.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def reply(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        artifact = find(Path(path))
        entry = RUNTIMES[choose(artifact.kind, runtime)]
        session = entry.open(artifact.path)
        installed = _version(entry.package)
        facts = {name: getattr(session, name) for name in ("device", "shape", "stays")}
        reply({"version": installed, **facts})
        for line in sys.stdin:
            reply(_answer(session, runtime, json.loads(line)))
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        reply({"error": f"{reason:.500}"})


if __name__ == "__main__":
    main()
