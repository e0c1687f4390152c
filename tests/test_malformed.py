"""What is no batch of the network's images is refused alike by every format."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from exported import EXPORTERS, Artifacts
from forked import elsewhere
from malformed import ask

from export.runtimes import RUNTIMES, readers

pytestmark = pytest.mark.slow

SHAPE = (12, 8, 3)
Raw = Callable[[np.ndarray], np.ndarray]  # a runtime's own call, nothing around it
FORMS = ("SavedModel", "SavedModel with variables", "SavedModel bf16")
WRONG = {
    **{f"rank {rank}": (5, *SHAPE)[4 - rank :] for rank in range(4)},
    "rank 5": (1, 2, *SHAPE),
    "rank 5 of one image": (1, 1, *SHAPE),
    "height": (2, 13, 8, 3),
    "width": (2, 12, 16, 3),
    "height and width of 1": (2, 1, 1, 3),
    "height of 0": (2, 0, 8, 3),
    "channels": (2, 12, 8, 1),
    "swapped": (2, 8, 12, 3),
    "as many values": (2, 6, 16, 3),
}


def of_tensorflow(path: Path, signature: str = "serving_default") -> Raw:
    loaded = tf.saved_model.load(str(path))

    def ask(images: np.ndarray) -> np.ndarray:
        (answer,) = loaded.signatures[signature](image=tf.constant(images)).values()
        return answer.numpy()

    return ask


def of_litert(path: Path) -> Raw:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    (image,), (answer,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )

    def ask(images: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(image["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(image["index"], images.astype(image["dtype"]))
        interpreter.invoke()
        return interpreter.get_tensor(answer["index"])

    return ask


def of_signature_runner(path: Path) -> Raw:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    runner = interpreter.get_signature_runner("serving_default")
    dtype = runner.get_input_details()["image"]["dtype"]
    return lambda images: runner(image=images.astype(dtype))["probabilities"]


def of_onnxruntime(path: Path) -> Raw:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    return lambda images: session.run(None, {"image": images})[0]


def of_openvino(path: Path) -> Raw:
    import openvino

    core = openvino.Core()
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    with ThreadPoolExecutor(1) as thread:  # as export.runtimes.openvino does it
        read = core.read_model(str(path))
        model = thread.submit(core.compile_model, read, "CPU", hint).result()
    dtype = model.input(0).get_element_type().to_dtype()
    return lambda images: np.asarray(model(images.astype(dtype))[0])


OPENERS: dict[str, dict[str, Callable[[Path], Raw]]] = {
    "SavedModel": {
        "tensorflow": of_tensorflow,
        "features": lambda path: of_tensorflow(path, "features"),
        "openvino": of_openvino,
    },
    "TFLite": {
        "interpreter": of_litert,
        "signature runner": of_signature_runner,
        "openvino": of_openvino,
    },
    "ONNX": {"onnxruntime": of_onnxruntime, "openvino": of_openvino},
}
NAMES = [*FORMS, *(n for n in EXPORTERS if not n.startswith("SavedModel"))]
PAIRS = [(n, runtime) for n in NAMES for runtime in OPENERS[n.split(maxsplit=1)[0]]]
FLOATS = [pair for pair in PAIRS if "int8" not in pair[0]]


@pytest.fixture(scope="module")
def opened(artifacts: Artifacts) -> Callable[[str, str], Raw]:
    found: dict[tuple[str, str], Raw] = {}

    def opened(name: str, runtime: str) -> Raw:
        if (name, runtime) not in found:
            opener = OPENERS[name.split(maxsplit=1)[0]][runtime]
            found[name, runtime] = opener(artifacts[name])
        return found[name, runtime]

    return opened


def images(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (count, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize(("name", "runtime"), PAIRS)
def test_other_shapes_are_errors(
    name: str, runtime: str, opened: Callable[[str, str], Raw]
) -> None:
    ask = opened(name, runtime)
    expected = ask(images(2))
    answered = []
    for case, shape in WRONG.items():
        error = tf.errors.InvalidArgumentError if "tensor" in runtime else Exception
        try:
            ask(np.full(shape, 100, np.float32))
        except error as reason:
            assert "tensor" not in runtime or "not compatible with" in str(reason)
        else:
            answered.append(case)
        np.testing.assert_allclose(ask(images(2)), expected, atol=1e-6)
    assert answered == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize(("name", "runtime"), FLOATS)
def test_the_image_with_a_pixel_that_is_not_finite_gets_nan(
    name: str, runtime: str, value: float, opened: Callable[[str, str], Raw]
) -> None:
    ask = opened(name, runtime)
    expected = ask(images(3))
    given = images(3)
    given[1, 5, 3, 2] = value
    answer = ask(given)
    assert np.isnan(answer[1]).all()
    np.testing.assert_allclose(answer[[0, 2]], expected[[0, 2]], atol=1e-6)
    assert np.isfinite(expected).all()


@pytest.mark.parametrize(("name", "runtime"), PAIRS)
def test_no_image_gives_no_answer(
    name: str,
    runtime: str,
    opened: Callable[[str, str], Raw],
    artifacts: Artifacts,
) -> None:
    ask = opened(name, runtime)
    columns = ask(images(1)).shape[1]
    if name.startswith("TFLite"):
        if runtime == "openvino":  # once it refused a batch, its model refuses others
            ask = of_openvino(artifacts[name])
        # Not the file's words; docs/formats.md tells what they mean.
        said = "failed to reshape runtime|Argument shapes are inconsistent"
        with pytest.raises(RuntimeError, match=said):
            ask(images(0))
        if runtime == "openvino":
            ask = of_openvino(artifacts[name])
    else:
        assert ask(images(0)).shape == (0, columns)
    assert ask(images(2)).shape == (2, columns)


@pytest.mark.parametrize("name", FORMS)
def test_no_file_gives_no_answer(name: str, artifacts: Artifacts) -> None:
    loaded = tf.saved_model.load(str(artifacts[name]))
    ask = loaded.signatures["classify_bytes"]
    answer = ask(image_bytes=tf.constant([], tf.string))
    shapes = {key: value.shape.as_list() for key, value in answer.items()}
    assert shapes == {"probabilities": [0, 3], "class_id": [0], "label": [0]}


# The C library gets a thousand requests for each form below.
SESSIONS = [
    (name, runtime)
    for name in NAMES
    for runtime in readers(name.split(maxsplit=1)[0])
    if runtime != "c-api" or name == "SavedModel"
]


@pytest.mark.parametrize(("name", "runtime"), SESSIONS)
def test_sessions_say_what_is_wrong(
    name: str,
    runtime: str,
    artifacts: Artifacts,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if runtime == "c-api":
        program = request.getfixturevalue("c_program")
        monkeypatch.setattr("export.runtimes.c_api.build", lambda folder: program)
    session = RUNTIMES[runtime].open(artifacts[name])
    expected = session.classify(images(3))
    for shape in WRONG.values():
        with pytest.raises(ValueError, match=r"images must be \(N, 12, 8, 3\), got"):
            session.classify(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match="images must be numbers, got dtype"):
        session.classify(np.full((1, *SHAPE), "1"))
    given = images(3)
    given[1, 5, 3, :2] = np.inf, -np.inf
    answer = session.classify(given)
    assert np.isnan(answer[1]).all()
    np.testing.assert_allclose(answer[::2], expected[::2], atol=1e-6)
    assert session.classify(images(0)).shape == (0, 3)
    if session.classify_files is not None:
        assert session.classify_files([])["probabilities"].shape == (0, 3)
        with pytest.raises((ValueError, RuntimeError), match="image must be"):
            session.classify_files([b"no image"])
    if session.features is not None:
        with pytest.raises(ValueError, match=r"images must be \(N, 12, 8, 3\), got"):
            session.features(np.zeros(SHAPE, np.float32))


@pytest.mark.parametrize("name", FORMS)
def test_a_server_answers_after_a_thousand_malformed_requests(
    name: str, artifacts: Artifacts
) -> None:
    """The process is another: what is tested is whether it survives."""
    told = elsewhere(ask, artifacts[name])
    assert sum(sum(counts.values()) for counts in told.values()) == 1000
    answered = {"no image": "none", "no file": "none"}
    for value in ("nan", "inf", "-inf"):
        answered[value] = "NaN"
    for kind, counts in told.items():
        assert set(counts) == {answered.get(kind, "refused")}, kind
