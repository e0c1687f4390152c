"""Runs a SavedModel by ``classify.c``, a program on TensorFlow's C library."""

import atexit
import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from export.runtimes import Array, Session
from export.runtimes.tensorflow_internals import read_meta_graphs

SOURCE = Path(__file__).with_name("classify.c")
LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")


def open_session(path: Path) -> Session:
    """Compiles the program, which each call of the session runs once.

    The program finds tensors by the names in the SavedModel's signatures.
    """
    folder = tempfile.mkdtemp(prefix="classify-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    program = build(Path(folder))
    found = signatures(path)
    pixels, files = found["serving_default"], found.get("classify_bytes")

    def classify(images: Array) -> Array:
        return answer(pixels, [np.float32(image).tobytes() for image in images])

    def classify_files(data: list[bytes]) -> dict[str, Array]:
        return {"probabilities": answer(files, data)}

    def answer(signature: Any, data: list[bytes]) -> Array:
        (given,) = signature.inputs.values()
        if not data:  # the program requires at least one file
            _, classes = signature.outputs["probabilities"].tensor_shape.dim
            return np.zeros((0, int(classes.size)), np.float32)
        with tempfile.TemporaryDirectory(dir=folder) as inputs:
            paths = [Path(inputs, f"{i:06}") for i in range(len(data))]
            for file, content in zip(paths, data, strict=True):
                file.write_bytes(content)
            names = [given.name, signature.outputs["probabilities"].name]
            printed = _run([str(program), str(path), *names, *map(str, paths)])
        lines = printed.splitlines()
        return np.array([line.split() for line in lines], np.float32)

    (image,) = pixels.inputs.values()
    shape = tuple(int(d.size) for d in image.tensor_shape.dim[1:])
    return Session(classify, shape, classify_files if files else None, stays=False)


def build(folder: Path) -> Path:
    """Compiles the program against the libraries in TensorFlow's package.

    Raises:
        RuntimeError: The C compiler failed.
    """
    found = find_spec("tensorflow")
    assert found and found.origin
    home = Path(found.origin).parent
    program = folder / "classify"
    _run(
        [
            *("cc", "-O1", "-Wall", "-Werror", str(SOURCE), "-o", str(program)),
            f"-I{home / 'include'}",
            *(str(home / library) for library in LIBRARIES),
            f"-Wl,-rpath,{home}",
        ]
    )
    return program


def signatures(path: Path) -> Any:
    """Returns a SavedModel's signatures by name, with their tensors."""
    found = read_meta_graphs(path)
    (graph,) = (graph for graph in found if "serve" in graph.meta_info_def.tags)
    return graph.signature_def


def _run(line: list[str]) -> str:
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=quiet)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RuntimeError(f"{Path(line[0]).name} must succeed, got: {reason}")
    return done.stdout
