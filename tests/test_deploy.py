"""What deploy/ sends and configures, against the real signatures and messages."""

import base64
import contextlib
import importlib.util
import json
import os
import re
import socketserver
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
import yaml
from google.protobuf import text_format
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from export import saved_model
from export.graph.options import GraphOptions
from training.runs.run import Run

DEPLOY = Path(__file__).parents[1] / "deploy"
MAX_PIXELS = 1000
PREDICT = re.compile(r"/v1/models/photos(/versions/1|/labels/stable)?:predict")


@pytest.fixture(scope="module")
def client() -> ModuleType:
    spec = importlib.util.spec_from_file_location("client", DEPLOY / "client.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["client"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def served(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("served")
    path = saved_model.export(run, folder, GraphOptions(max_pixels=MAX_PIXELS))
    return tf.saved_model.load(str(path))


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 30, 3), np.uint8)
    encoded = (
        tf.io.encode_jpeg(image),
        tf.io.encode_png(image[::-1]),
        tf.io.encode_png(image[:9]),
    )
    return [bytes(data.numpy()) for data in encoded]


LARGE = bytes(tf.io.encode_png(np.zeros((40, 40, 3), np.uint8)).numpy())


class Rest(BaseHTTPRequestHandler):
    """Decodes and answers as TensorFlow Serving's RESTful API documents it."""

    served: Any
    seen: list[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append(self.path)
        status, answer = 404, {"error": f"Malformed request: POST {self.path}"}
        if PREDICT.fullmatch(self.path):
            status, answer = self._answer(body)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        signature = self.served.signatures[body["signature_name"]]
        inputs = {
            name: tf.constant(
                [base64.b64decode(x["b64"], validate=True) for x in given]
            )
            for name, given in body["inputs"].items()
        }
        try:
            outputs = signature(**inputs)
        except tf.errors.InvalidArgumentError as error:
            return 400, {"error": str(error)}
        values = {name: value.numpy() for name, value in outputs.items()}
        values["label"] = np.char.decode(values["label"].astype(bytes))
        return 200, {"outputs": {name: v.tolist() for name, v in values.items()}}

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Grpc(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Runs the signature on the tensors of a PredictRequest."""

    def __init__(self, served: Any) -> None:
        self.served = served
        self.seen: list[Any] = []

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's
        self.seen.append(request.model_spec)
        signature = self.served.signatures[request.model_spec.signature_name]
        inputs = {n: tf.constant(tf.make_ndarray(t)) for n, t in request.inputs.items()}
        try:
            outputs = signature(**inputs)
        except tf.errors.InvalidArgumentError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = predict_pb2.PredictResponse()
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


@pytest.fixture(scope="module")
def rest(served: Any) -> Iterator[tuple[str, list[str]]]:
    handler = type("Handler", (Rest,), {"served": served, "seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", handler.seen
        server.shutdown()


@pytest.fixture(scope="module")
def rpc(served: Any) -> Iterator[tuple[str, Grpc]]:
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = Grpc(served)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        servicer, server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", servicer
    server.stop(None).wait()


def expected(served: Any, files: list[bytes]) -> tuple[list[str], np.ndarray]:
    answer = served.signatures["classify_bytes"](image_bytes=tf.constant(files))
    labels = [label.decode() for label in answer["label"].numpy()]
    return labels, answer["probabilities"].numpy()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "path"),
    [
        ({}, ""),
        ({"version": 1}, "/versions/1"),
        ({"label": "stable"}, "/labels/stable"),
    ],
)
def test_rest_gets_the_signatures_answer(
    client: ModuleType,
    served: Any,
    files: list[bytes],
    rest: tuple[str, list[str]],
    version: dict,
    path: str,
) -> None:
    address, seen = rest
    answers = client.ask_rest(client.Model(address, **version), files, 10)
    assert seen[-1] == f"/v1/models/photos{path}:predict"
    labels, probabilities = expected(served, files)
    assert [answer.label for answer in answers] == labels
    np.testing.assert_allclose([a.probabilities for a in answers], probabilities)


@pytest.mark.slow
@pytest.mark.parametrize("version", [{}, {"version": 1}, {"label": "stable"}])
def test_grpc_gets_the_signatures_answer(
    client: ModuleType,
    served: Any,
    files: list[bytes],
    rpc: tuple[str, Grpc],
    version: dict,
) -> None:
    address, servicer = rpc
    answers = client.ask_grpc(client.Model(address, **version), files, 10)
    labels, probabilities = expected(served, files)
    assert [answer.label for answer in answers] == labels
    np.testing.assert_allclose([a.probabilities for a in answers], probabilities)
    spec = servicer.seen[-1]
    assert (spec.name, spec.signature_name) == ("photos", "classify_bytes")
    assert spec.version.value == version.get("version", 0)
    assert spec.version_label == version.get("label", "")


@pytest.mark.slow
def test_a_refusal_comes_with_its_reason(
    client: ModuleType,
    rest: tuple[str, list[str]],
    rpc: tuple[str, Grpc],
    files: list[bytes],
) -> None:
    reason = rf"at most {MAX_PIXELS}.*pixels"
    with pytest.raises(RuntimeError, match=reason):
        client.ask_rest(client.Model(rest[0]), [LARGE], 10)
    with pytest.raises(RuntimeError, match=f"(?s)INVALID_ARGUMENT: .*{reason}"):
        client.ask_grpc(client.Model(rpc[0]), [LARGE], 10)
    with pytest.raises(RuntimeError, match="Malformed request"):
        client.ask_rest(client.Model(rest[0], "another"), files, 10)
    with pytest.raises(RuntimeError, match="does not answer"):
        client.ask_rest(client.Model("127.0.0.1:1"), files, 10)
    with pytest.raises(RuntimeError, match="UNAVAILABLE"):
        client.ask_grpc(client.Model("127.0.0.1:1"), files, 2)


@pytest.mark.slow
def test_command(
    client: ModuleType,
    files: list[bytes],
    rest: tuple[str, list[str]],
    tmp_path: Path,
) -> None:
    image = tmp_path / "a.jpg"
    image.write_bytes(files[0])

    def ask() -> subprocess.CompletedProcess[str]:
        line = [sys.executable, client.__file__, str(image), "--server", rest[0]]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    done = ask()
    assert done.returncode == 0, done.stderr
    path, label, share = done.stdout.strip().split("\t")
    assert path == str(image) and label and 0 < float(share) <= 1
    image.write_bytes(LARGE)
    done = ask()
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search("error: .*at most", done.stderr.splitlines()[-1])
    image.unlink()
    done = ask()
    assert done.returncode == 2
    reason = f"image must be readable, got {image}: No such file or directory"
    assert done.stderr == f"error: {reason}; see --help\n"


@pytest.mark.slow
def test_command_over_grpc(
    client: ModuleType,
    files: list[bytes],
    rpc: tuple[str, Grpc],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = tmp_path / "a.jpg"
    line = ["client", str(image), "--grpc", "--server", rpc[0]]
    monkeypatch.setattr(sys, "argv", line)
    image.write_bytes(files[0])
    client.main()
    path, label, share = capsys.readouterr().out.strip().split("\t")
    assert path == str(image) and label and 0 < float(share) <= 1
    image.write_bytes(LARGE)
    with pytest.raises(SystemExit, match=r"error: .*at most"):
        client.main()
    image.unlink()
    with pytest.raises(SystemExit) as stop:
        client.main()
    printed = capsys.readouterr()
    assert (stop.value.code, printed.out) == (2, "")
    assert "image must be readable" in printed.err


GOOD = {"outputs": {"label": ["cat"], "probabilities": [[0.25, 0.75]]}}


def http(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n".encode() + body


def outputs(**values: Any) -> bytes:
    return http(json.dumps({"outputs": {**GOOD["outputs"], **values}}).encode())


# What a server that is none, or is broken, sends back.
ODD_ANSWERS: dict[str, bytes] = {
    "HTML": http(b"<html>Welcome to nginx!</html>"),
    "no JSON object": http(b"[1, 2]"),
    "JSON without outputs": http(b'{"predictions": []}'),
    "outputs that are a list": http(b'{"outputs": [[0.25, 0.75]]}'),
    "no label": http(b'{"outputs": {"probabilities": [[1.0]]}}'),
    "fewer labels": outputs(label=[]),
    "more answers": outputs(label=["a", "b"], probabilities=[[1.0], [1.0]]),
    "no classes": outputs(probabilities=[[]]),
    "probabilities that are text": outputs(probabilities=[["much"]]),
    "a label that is a number": outputs(label=[3]),
    "deep JSON": http(b"[" * 100_000),
    "a number of 400 digits": outputs(probabilities=[[10**400]]),
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/2, as gRPC": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18),
    "a cut answer": http(json.dumps(GOOD).encode(), length=5000),
    "bytes that are no text": http(b"\xff\xfe\x00"),
    "an error in HTML": http(b"<html>bad</html>", "502 Bad Gateway"),
    "an error without a body": http(b"", "503 Service Unavailable"),
    "a cut error": http(b"{", "400 Bad Request", length=500),
    "an error of another form": http(b'{"error": {"code": 3}}', "400 Bad Request"),
}


@pytest.fixture
def odd() -> Iterator[Callable[[bytes], str]]:
    """A server that sends the same bytes to everyone; gives its address."""
    with contextlib.ExitStack() as servers:

        def start(answer: bytes) -> str:
            class Handler(socketserver.BaseRequestHandler):
                def handle(self) -> None:
                    self.request.recv(1 << 16)
                    self.request.sendall(answer)

            server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
            servers.enter_context(server)
            servers.callback(server.shutdown)
            Thread(target=server.serve_forever, daemon=True).start()
            return f"127.0.0.1:{server.server_address[1]}"

        yield start


@pytest.fixture
def ask(
    client: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[Any, str, str]]:
    """Runs the command line on a small file; gives its status and what it printed."""

    def ask(*options: str, name: str = "a b.jpg") -> tuple[Any, str, str]:
        (tmp_path / name).write_bytes(b"an image")
        line = ["client", str(tmp_path / name), "--seconds", "5", *options]
        monkeypatch.setattr(sys, "argv", line)
        status = None
        try:
            client.main()
        except SystemExit as stop:
            status = stop.code
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return ask


@pytest.mark.parametrize("name", ODD_ANSWERS)
def test_odd_answers_are_one_line(
    name: str, odd: Callable[[bytes], str], ask: Callable[..., tuple[Any, str, str]]
) -> None:
    server = odd(ODD_ANSWERS[name])
    status, printed, _ = ask("--server", server)
    assert printed == ""
    assert isinstance(status, str) and status.startswith("error: ")
    assert status.count("\n") == 0 and len(status) < 400
    if "error" not in name:
        assert status.startswith(f"error: {server} ")


def test_names_are_escaped(
    odd: Callable[[bytes], str], ask: Callable[..., tuple[Any, str, str]]
) -> None:
    server = odd(outputs(label=["Hündin"]))
    for options in (["--model", "my photos/ü"], ["--label", "erste Wahl"]):
        status, printed, _ = ask("--server", server, *options, name="Größe 1.jpg")
        assert status is None
        assert printed.endswith("Größe 1.jpg\tHündin\t0.7500\n")


def test_escaped_names_are_the_servers(client: ModuleType) -> None:
    request = client.rest_request(client.Model("a:1", "my/ü", label="x y"), [])
    assert request.full_url == "http://a:1/v1/models/my%2F%C3%BC/labels/x%20y:predict"


@pytest.mark.parametrize(
    "server",
    ["http://localhost:8501", "localhost", "localhost:8501/v1", "my host:1", "ü:1", ""],
)
def test_a_server_is_a_host_and_a_port(
    server: str, ask: Callable[..., tuple[Any, str, str]]
) -> None:
    for protocol in ([], ["--grpc"]):
        status, printed, said = ask("--server", server, *protocol)
        assert (status, printed) == (2, "")
        assert "server must be host:port, without http:// or a path, got" in said


def test_seconds_are_of_one_day(ask: Callable[..., tuple[Any, str, str]]) -> None:
    for seconds in ("0", "-1", "nan", "inf", "86401", "1e300", "ten"):
        status, _, said = ask(f"--seconds={seconds}")
        line = f"seconds must be above 0 and at most 86400, a day, got {seconds}"
        assert (status, said) == (2, f"error: argument --seconds: {line}; see --help\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--version", "x"], "argument --version: invalid int value: 'x'"),
        (
            ["--version", "1", "--label", "stable"],
            "not allowed with argument --version",
        ),
        (["--bogus"], "unrecognized arguments: --bogus"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], said: str, ask: Callable[..., tuple[Any, str, str]]
) -> None:
    status, printed, shown = ask(*options)
    assert (status, printed) == (2, "") and shown.startswith("error: ")
    assert said in shown and shown.count("\n") == 1 and shown.endswith("; see --help\n")


@pytest.mark.slow
def test_each_protocol_says_that_a_port_is_the_others(
    rest: tuple[str, list[str]],
    rpc: tuple[str, Grpc],
    odd: Callable[[bytes], str],
    ask: Callable[..., tuple[Any, str, str]],
) -> None:
    status, *_ = ask("--server", rpc[0])
    assert status.startswith(f"error: {rpc[0]} does not answer over REST: ")
    for server in (rest[0], odd(ODD_ANSWERS["HTML"])):
        status, *_ = ask("--server", server, "--grpc")
        assert status.startswith(("error: UNAVAILABLE: ", "error: DEADLINE_EXCEEDED"))


@pytest.mark.slow
@pytest.mark.parametrize("names", [[], ["label"], ["probabilities"]])
def test_a_grpc_answer_without_outputs_is_one_line(
    names: list[str], ask: Callable[..., tuple[Any, str, str]]
) -> None:
    class Odd(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
            response = predict_pb2.PredictResponse()
            for name in names:
                response.outputs[name].CopyFrom(tf.make_tensor_proto([1]))
            return response

    server = grpc.server(ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Odd(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    status, *_ = ask("--server", f"127.0.0.1:{port}", "--grpc")
    server.stop(None).wait()
    assert "must return label and probabilities of each file" in status


def test_batching_splits_large_requests() -> None:
    """As TensorFlow Serving's batching_session.cc requires of these fields."""
    text = (DEPLOY / "batching.config").read_text()
    limits = {name: int(n) for name, n in re.findall(r"(\w+) { value: (\d+) }", text)}
    sizes = [int(n) for n in re.findall(r"^allowed_batch_sizes: (\d+)$", text, re.M)]
    assert "enable_large_batch_splitting { value: true }" in text
    assert limits["max_batch_size"] == 1024
    assert sizes == sorted(sizes) and sizes[-1] == limits["max_execution_batch_size"]
    waiting = limits["max_enqueued_batches"] * limits["max_execution_batch_size"]
    assert limits["max_batch_size"] <= waiting


def models() -> ModelServerConfig:
    text = (DEPLOY / "models.config").read_text()
    config: ModelServerConfig = text_format.Parse(text, ModelServerConfig())
    return config


@pytest.mark.parametrize(
    ("redirection", "status", "said"),
    [
        (">&-", 1, "Bad file descriptor"),
        ("> /dev/full", 1, "No space left on device"),
        ("| true", 0, ""),
        ("| cat", 0, ""),
    ],
)
def test_the_client_tells_where_its_answers_cannot_be_printed(
    redirection: str, status: int, said: str, client: ModuleType, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(DEPLOY)!r}); import client\n"
        "client.ask_rest = lambda *_: [client.Answer('größe', [1.0])]\n"
        "client.main()\n"
    )
    line = f"{sys.executable} {script} {script} {redirection}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    error = f"error: cannot write to standard output: {said}\n" if said else ""
    assert (done.returncode, done.stderr) == (status, error)
    shown = f"{script}\tgr\\xf6\\xdfe\t1.0000\n" if redirection == "| cat" else ""
    assert done.stdout == shown


def test_models_config_is_one() -> None:
    (model,) = models().model_config_list.config
    assert (model.name, model.base_path) == ("photos", "/models/photos")
    assert model.model_version_policy.WhichOneof("policy_choice") == "all"
    assert dict(model.version_labels) == {"stable": 1}


def test_kubernetes_fits_the_configuration() -> None:
    deployment, service = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    (model,) = models().model_config_list.config
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert f"--port={ports['grpc']}" in container["args"]
    assert f"--rest_api_port={ports['rest']}" in container["args"]
    assert {p["port"] for p in service["spec"]["ports"]} == set(ports.values())
    for probe in ("startupProbe", "readinessProbe"):
        get = container[probe]["httpGet"]
        # The model's status, without /metadata, is answered by 200 before it is loaded.
        assert get == {"path": f"/v1/models/{model.name}/metadata", "port": "rest"}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {"models": model.base_path, "config": "/config"}
    selected = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == selected
    assert deployment["spec"]["selector"]["matchLabels"] == selected


def test_container_and_kubernetes_start_the_same_server() -> None:
    script = (DEPLOY / "serve.sh").read_text()
    deployment, _ = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    flags = [x for x in re.findall(r"--[a-z_]+=\S+", script) if "_" in x or "port" in x]
    assert set(flags) == set(container["args"])
    assert container["image"] in script
    for name in re.findall(r"/config/(\S+)", script):
        assert (DEPLOY / name).is_file()
