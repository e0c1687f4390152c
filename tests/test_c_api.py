"""The C program: what TensorFlow Serving's runtime makes of a SavedModel."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from data import smooth
from exported import Artifacts

from export.runtimes import c_api

Classify = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def version(artifacts: Artifacts) -> Path:
    return artifacts["SavedModel"]


@pytest.fixture(scope="module")
def classify(c_program: Path) -> Classify:
    def classify(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [str(c_program), *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    return classify


@pytest.mark.slow
def test_a_jpeg_file_gives_pythons_probabilities(
    version: Path, classify: Classify, tmp_path: Path
) -> None:
    data = tf.io.encode_jpeg(smooth(60, 40)).numpy()
    file = tmp_path / "image.jpg"
    file.write_bytes(data)
    signature = tf.saved_model.load(str(version)).signatures["classify_bytes"]
    expected = signature(image_bytes=tf.constant([data]))["probabilities"]
    names = c_api.signatures(version)["classify_bytes"]
    given = names.inputs["image_bytes"].name
    done = classify(version, given, names.outputs["probabilities"].name, file, file)
    assert done.returncode == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    found = np.array(lines, np.float32)
    np.testing.assert_allclose(found, np.repeat(expected, 2, 0), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("{version}", "a:0"), "usage: classify SAVED_MODEL INPUT OUTPUT FILE..."),
        (("{empty}", "a:0", "b:0", "{file}"), "{empty}: "),
        (("{version}", "a", "b:0", "{file}"), "a: must be OPERATION:INDEX"),
        (("{version}", "a:0", "b:0", "{file}"), "a:0: is not in the graph"),
        (("{version}", "{image}", "{out}", "nothing"), "nothing: cannot be read"),
        (
            ("{version}", "{image}", "{out}", "{file}"),
            "{file}: does not have the size of the network's input",
        ),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...],
    said: str,
    version: Path,
    classify: Classify,
    tmp_path: Path,
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    signature = c_api.signatures(version)["serving_default"]
    names = {
        "image": signature.inputs["image"].name,
        "out": signature.outputs["probabilities"].name,
        "version": version,
        "empty": tmp_path,
        "file": file,
    }
    done = classify(*(argument.format(**names) for argument in arguments))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith(said.format(**names))


def test_a_compiler_that_refuses_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "broken.c"
    source.write_text("#error no\n")
    monkeypatch.setattr(c_api, "SOURCE", source)
    with pytest.raises(RuntimeError, match="cc must succeed, got: "):
        c_api.build(tmp_path)
