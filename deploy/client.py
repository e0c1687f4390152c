"""Classifies image files with TensorFlow Serving over REST or gRPC.

    python deploy/client.py cat.jpg dog.png
    python deploy/client.py cat.jpg --grpc --server photos:8500 --label stable

REST needs only Python. gRPC needs tensorflow-serving-api.
"""

import argparse
import base64
import errno
import http.client
import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

SIGNATURE = "classify_bytes"
DAY = 24 * 60 * 60  # seconds
CHECK_SERVER = "check --server, and that the server runs"


class Model(NamedTuple):
    """A served model and its address.

    Attributes:
        server: ``host:port``.
        name: Name of the model on the server.
        version: Version number; None: the newest.
        label: Label of the version, used instead of a number.
    """

    server: str
    name: str = "photos"
    version: int | None = None
    label: str | None = None


class Answer(NamedTuple):
    """Prediction for a file: its most probable class and all probabilities."""

    label: str
    probabilities: list[float]


def rest_request(model: Model, files: Sequence[bytes]) -> urllib.request.Request:
    """Returns the HTTP request for a batch of files: JSON with base64 bytes."""
    name = urllib.parse.quote(model.name, safe="")
    version = f"/versions/{model.version}" if model.version is not None else ""
    if model.label is not None:
        version = f"/labels/{urllib.parse.quote(model.label, safe='')}"
    encoded = [{"b64": base64.b64encode(data).decode()} for data in files]
    body = {"signature_name": SIGNATURE, "inputs": {"image_bytes": encoded}}
    return urllib.request.Request(
        f"http://{model.server}/v1/models/{name}{version}:predict",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )


def ask_rest(model: Model, files: Sequence[bytes], seconds: float) -> list[Answer]:
    """Classifies files over REST.

    Args:
        model: The model to use.
        files: Contents of the image files.
        seconds: Timeout.

    Raises:
        RuntimeError: The server refused, with its reason, or is not such a server.
    """
    try:
        request = rest_request(model, files)
        with urllib.request.urlopen(request, timeout=seconds) as response:
            body = response.read()
    except urllib.error.HTTPError as error:
        raise RuntimeError(_reason(error)) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        # Also another protocol's port, or a connection that breaks off.
        why = str(getattr(error, "reason", error)) or type(error).__name__
        raise RuntimeError(
            f"{model.server} does not answer over REST: {why}; {CHECK_SERVER}"
        ) from None
    try:
        outputs = json.loads(body)["outputs"]
        return _answers(outputs["label"], outputs["probabilities"], len(files))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise RuntimeError(_not_an_answer(model, body)) from None


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
    """Classifies files over gRPC; the arguments are those of ``ask_rest``.

    Raises:
        RuntimeError: The server refused, with its reason.
    """
    import grpc
    from tensorflow import make_ndarray
    from tensorflow_serving.apis import prediction_service_pb2_grpc as service

    try:
        request = grpc_request(model, files)
        with grpc.insecure_channel(model.server) as channel:
            response = service.PredictionServiceStub(channel).Predict(request, seconds)
    except grpc.RpcError as error:
        hint = f"; {CHECK_SERVER}" if error.code().name == "UNAVAILABLE" else ""
        raise RuntimeError(f"{error.code().name}: {error.details()}{hint}") from None
    except ValueError as error:
        raise RuntimeError(f"gRPC request to {model.server} failed: {error}") from None
    try:
        labels, probabilities = (
            make_ndarray(response.outputs[name]).tolist()
            for name in ("label", "probabilities")
        )
        labels = [label.decode() for label in labels]
        return _answers(labels, probabilities, len(files))
    except (ValueError, TypeError, AttributeError):
        raise RuntimeError(_not_an_answer(model, b"")) from None


def _answers(
    labels: Iterable[str], probabilities: Iterable[Sequence[float]], count: int
) -> list[Answer]:
    """Pairs the outputs; raises ValueError or TypeError if they are invalid."""
    answers = [
        Answer(label, [float(share) for share in shares])
        for label, shares in zip(labels, probabilities, strict=True)
    ]
    whole = (isinstance(label, str) and shares for label, shares in answers)
    if len(answers) != count or not all(whole):
        raise ValueError(f"there must be {count} valid answers, got {len(answers)}")
    return answers


def _not_an_answer(model: Model, body: bytes) -> str:
    got = f", got: {body.decode(errors='replace')[:100]}" if body else ""
    return f"{model.server} must return label and probabilities of each file{got}"


def _reason(error: urllib.error.HTTPError) -> str:
    """Returns the reason that a server gives for an error."""
    try:
        body = error.read()
    except (OSError, http.client.HTTPException):
        body = b""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        text = body.decode(errors="replace")
        return f"HTTP status {error.code} {error.reason}: {text:.200}"


def address(text: str) -> str:
    """Parses ``host:port``; an IPv6 address is in brackets."""
    if not re.fullmatch(r"([\w.-]+|\[[\da-fA-F:.]+\]):\d{1,5}", text, re.ASCII):
        raise argparse.ArgumentTypeError(
            f"server must be host:port, without http:// or a path, got {text!r}"
        )
    return text


def duration(text: str) -> float:
    """Parses a positive number of seconds."""
    with suppress(ValueError):
        if 0 < float(text) <= DAY:
            return float(text)
    raise argparse.ArgumentTypeError(
        f"seconds must be above 0 and at most {DAY}, a day, got {text}"
    )


def print_answers(files: Sequence[Path], answers: Sequence[Answer]) -> None:
    r"""Prints one line per file, unprintable characters as ``\xd7``.

    Raises:
        OSError: Standard output is closed, or its disk is full.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        for path, answer in zip(files, answers, strict=True):
            print(f"{path}\t{answer.label}\t{max(answer.probabilities):.4f}")
        sys.stdout.flush()
    except OSError as error:  # Python must not flush again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # the reader closed the pipe
            raise


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    # One line, without the usage.
    parser.error = lambda text: parser.exit(2, f"error: {text}; see --help\n")
    parser.add_argument("images", nargs="+", type=Path, help="image files")
    parser.add_argument(
        "--server", type=address, help="host:port (default: localhost, 8501 or 8500)"
    )
    parser.add_argument("--model", default="photos", help="name of the model")
    version = parser.add_mutually_exclusive_group()
    version.add_argument("--version", type=int, help="version number (default: newest)")
    version.add_argument("--label", help="label of the version")
    parser.add_argument("--grpc", action="store_true", help="use gRPC instead of REST")
    parser.add_argument("--seconds", type=duration, default=10, help="timeout")
    options = parser.parse_args()
    server = options.server or f"localhost:{8500 if options.grpc else 8501}"
    model = Model(server, options.model, options.version, options.label)
    ask = ask_grpc if options.grpc else ask_rest
    try:
        files = [path.read_bytes() for path in options.images]
    except OSError as error:
        parser.error(f"image must be readable, got {error.filename}: {error.strerror}")
    try:
        answers = ask(model, files, options.seconds)
    except ModuleNotFoundError as error:
        sys.exit(f"error: --grpc needs tensorflow-serving-api ({error}); install it")
    except RuntimeError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    try:
        print_answers(options.images, answers)
    except OSError as error:
        sys.exit(f"error: cannot write to standard output: {error.strerror}")


if __name__ == "__main__":
    main()
