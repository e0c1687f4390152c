"""Asks TensorFlow Serving to classify image files, over REST or gRPC.

    python deploy/client.py cat.jpg dog.png
    python deploy/client.py cat.jpg --grpc --server photos:8500 --label stable

REST needs nothing but Python. gRPC needs tensorflow-serving-api.
"""

import argparse
import base64
import errno
import json
import math
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

SIGNATURE = "classify_bytes"


class Model(NamedTuple):
    """Which model is asked, and where.

    Attributes:
        server: ``host:port``.
        name: The model's name there.
        version: Its version; None: the newest.
        label: The version that bears this label, instead of a number.
    """

    server: str
    name: str = "photos"
    version: int | None = None
    label: str | None = None


class Answer(NamedTuple):
    """What a file shows: the most probable class and the probability of each."""

    label: str
    probabilities: list[float]


def rest_request(model: Model, files: Sequence[bytes]) -> urllib.request.Request:
    """Returns the HTTP request for a batch of files, JSON with base64 bytes."""
    version = f"/versions/{model.version}" if model.version is not None else ""
    version = f"/labels/{model.label}" if model.label is not None else version
    encoded = [{"b64": base64.b64encode(data).decode()} for data in files]
    body = {"signature_name": SIGNATURE, "inputs": {"image_bytes": encoded}}
    return urllib.request.Request(
        f"http://{model.server}/v1/models/{model.name}{version}:predict",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )


def ask_rest(model: Model, files: Sequence[bytes], seconds: float) -> list[Answer]:
    """Asks over REST.

    Raises:
        RuntimeError: The server refused, with its reason.
    """
    request = rest_request(model, files)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as response:
            outputs = json.load(response)["outputs"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(_reason(error.read())) from None
    except OSError as error:
        raise RuntimeError(f"{model.server} does not answer: {error}") from None
    pairs = zip(outputs["label"], outputs["probabilities"], strict=True)
    return [Answer(label, probabilities) for label, probabilities in pairs]


def grpc_request(model: Model, files: Sequence[bytes]) -> Any:
    """Returns the PredictRequest for a batch of files."""
    from tensorflow import make_tensor_proto
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    request = PredictRequest()
    spec = request.model_spec
    spec.name, spec.signature_name = model.name, SIGNATURE
    if model.label is not None:
        spec.version_label = model.label
    elif model.version is not None:
        spec.version.value = model.version
    request.inputs["image_bytes"].CopyFrom(make_tensor_proto(list(files)))
    return request


def ask_grpc(model: Model, files: Sequence[bytes], seconds: float) -> list[Answer]:
    """Asks over gRPC.

    Raises:
        RuntimeError: The server refused, with its reason.
    """
    import grpc
    from tensorflow import make_ndarray
    from tensorflow_serving.apis.prediction_service_pb2_grpc import (
        PredictionServiceStub,
    )

    request = grpc_request(model, files)
    try:
        with grpc.insecure_channel(model.server) as channel:
            response = PredictionServiceStub(channel).Predict(request, seconds)
    except grpc.RpcError as error:
        raise RuntimeError(f"{error.code().name}: {error.details()}") from None
    labels, probabilities = (
        make_ndarray(response.outputs[name]) for name in ("label", "probabilities")
    )
    pairs = zip(labels, probabilities, strict=True)
    return [Answer(label.decode(), shares.tolist()) for label, shares in pairs]


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:200]


def print_answers(files: Sequence[Path], answers: Sequence[Answer]) -> None:
    r"""Prints a line a file, characters that the screen lacks as ``\xd7``.

    Raises:
        OSError: Standard output is closed or its disk full.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        for path, answer in zip(files, answers, strict=True):
            print(f"{path}\t{answer.label}\t{max(answer.probabilities):.4f}")
        sys.stdout.flush()
    except OSError as error:
        # Python would try again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # the reader has seen enough
            raise


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", type=Path, help="image files")
    parser.add_argument("--server", help="host:port (default: localhost, 8501 or 8500)")
    parser.add_argument("--model", default="photos", help="the model's name")
    version = parser.add_mutually_exclusive_group()
    version.add_argument("--version", type=int, help="its version; default: the newest")
    version.add_argument("--label", help="the version with this label")
    parser.add_argument("--grpc", action="store_true", help="gRPC instead of REST")
    parser.add_argument("--seconds", type=float, default=10, help="longest wait")
    options = parser.parse_args()
    if not 0 < options.seconds < math.inf:
        parser.error(
            f"--seconds must be finite and greater than 0, got {options.seconds}"
        )
    server = options.server or f"localhost:{8500 if options.grpc else 8501}"
    model = Model(server, options.model, options.version, options.label)
    ask = ask_grpc if options.grpc else ask_rest
    try:
        files = [path.read_bytes() for path in options.images]
    except OSError as error:
        parser.error(f"image must be readable, got {error.filename}: {error.strerror}")
    try:
        answers = ask(model, files, options.seconds)
    except RuntimeError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    try:
        print_answers(options.images, answers)
    except OSError as error:
        sys.exit(f"error: cannot write to standard output: {error.strerror}")


if __name__ == "__main__":
    main()
