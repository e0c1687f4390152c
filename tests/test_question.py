"""What an artifact answers is judged: every signature, its classes and their names."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from exported import Artifacts

from export.runtimes import tensorflow
from export.verification.compare import COMPARED
from export.verification.reference import Reference, make_reference
from export.worker import _classify
from keras_resnet.errors import Stopped
from training.runs.run import Run

pytestmark = pytest.mark.slow

Spoil = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def asked(
    run: Run, artifacts: Artifacts, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Reference, dict[str, np.ndarray]]:
    """A question, and what the run's SavedModel answers."""
    folder = tmp_path_factory.mktemp("question")
    version = artifacts["SavedModel"]
    question = make_reference(run, folder, 40)
    session = tensorflow.open_session(version)
    _classify(session, "tensorflow", folder)
    files = folder.glob("tensorflow-*.npy")
    return question, {file.stem.split("-")[1]: np.load(file) for file in files}


def answered(
    folder: Path, answers: dict[str, np.ndarray], runtime: str = "tensorflow"
) -> Path:
    for name, answer in answers.items():
        np.save(folder / f"{runtime}-{name}.npy", answer)
    return folder


@pytest.mark.parametrize(
    ("runtime", "compared"),
    [("tensorflow", COMPARED), ("c-api", COMPARED[:2]), ("openvino", COMPARED[:1])],
)
def test_all_that_a_runtime_can_ask_for_is_compared(
    runtime: str,
    compared: tuple[str, ...],
    asked: tuple[Reference, dict[str, np.ndarray]],
    tmp_path: Path,
) -> None:
    question, answers = asked
    told = {name: answers[name] for name in compared}
    if runtime == "tensorflow":
        told = answers
    differences = question.judge(answered(tmp_path, told, runtime), runtime)
    assert tuple(differences) == compared
    for name, difference in differences.items():
        assert difference.images == len(question.labels), name
        assert difference.largest < 1e-5, name


@pytest.mark.parametrize(
    ("runtime", "missing"),
    [
        ("tensorflow", "features"),
        ("tensorflow", "bytes"),
        ("c-api", "bytes"),
        ("litert", "pixels"),
    ],
)
def test_what_is_not_answered_is_missed(
    runtime: str,
    missing: str,
    asked: tuple[Reference, dict[str, np.ndarray]],
    tmp_path: Path,
) -> None:
    question, answers = asked
    told = {name: answer for name, answer in answers.items() if name != missing}
    said = f"not the same network: .* in {runtime}, got nothing for {missing}$"
    with pytest.raises(Stopped, match=said):
        question.judge(answered(tmp_path, told, runtime), runtime)


SPOILS: dict[str, tuple[str, Spoil, str]] = {
    "another class": ("class_id", lambda x: (x + 1) % 3, "class_id must be the most"),
    "another name": (
        "label",
        lambda x: np.full_like(x, "class1"),
        "label must be the run's for class_id",
    ),
    "fewer names": ("label", lambda x: x[1:], "label must be the run's for class_id"),
    "other features": ("features", lambda x: x[:, 1:], r"be \(64,\) per image, got"),
    "no numbers": ("features", lambda x: x * np.nan, "probabilities must be finite"),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_wrong_answers_are_told(
    spoil: str, asked: tuple[Reference, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    question, answers = asked
    name, change, said = SPOILS[spoil]
    told = answers | {name: change(answers[name])}
    with pytest.raises(Stopped, match=f"not the same network: .*{said}"):
        question.judge(answered(tmp_path, told), "tensorflow")


@pytest.mark.parametrize("missing", ["class_id", "label"])
def test_classes_must_be_named(
    missing: str, asked: tuple[Reference, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    question, answers = asked
    told = {name: answer for name, answer in answers.items() if name != missing}
    with pytest.raises(Stopped, match=f"not the same network: {missing} must be"):
        question.judge(answered(tmp_path, told), "tensorflow")


def test_features_are_compared_by_what_the_last_layer_makes_of_them(
    asked: tuple[Reference, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    question, answers = asked
    told = answers | {"features": answers["features"] * 1.1}
    differences = question.judge(answered(tmp_path, told), "tensorflow")
    assert differences["features"].largest > 1e-5 > differences["pixels"].largest
