"""Sends malformed requests to one session of TensorFlow's C library, as a server would.

    python tests/malformed.py VERSION [REQUESTS [SEED]]

holds a SavedModel loaded by ``TF_LoadSessionFromSavedModel``, which TensorFlow Serving
uses too. After each request, random but reproducible, it asks the same good one and
compares the answer with the first. It prints what was answered, as JSON. One request
that ends the process ends this one.
"""

import ctypes
import json
import os
import random
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from export.runtimes.c_api import LIBRARIES, signatures

STRING = 7
TYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10}
Answer = np.ndarray | str  # probabilities, or the reason why there are none


class Output(ctypes.Structure):
    """TF_Output."""

    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class Server:
    """A SavedModel in a session that stays."""

    def __init__(self, version: Path) -> None:
        spec = find_spec("tensorflow")
        assert spec and spec.origin
        home = Path(spec.origin).parent
        *_, self.tf = (
            ctypes.CDLL(str(home / name), ctypes.RTLD_GLOBAL)
            for name in reversed(LIBRARIES)
        )
        for name in (
            *(
                "NewStatus",
                "NewGraph",
                "NewSessionOptions",
                "LoadSessionFromSavedModel",
            ),
            *("GraphOperationByName", "AllocateTensor", "TensorData", "Message"),
        ):
            getattr(self.tf, f"TF_{name}").restype = ctypes.c_void_p
        self.tf.TF_Message.restype = ctypes.c_char_p
        self.tf.TF_Dim.restype = ctypes.c_int64
        self.status = ctypes.c_void_p(self.tf.TF_NewStatus())
        self.graph = ctypes.c_void_p(self.tf.TF_NewGraph())
        self.session = ctypes.c_void_p(
            self.tf.TF_LoadSessionFromSavedModel(
                ctypes.c_void_p(self.tf.TF_NewSessionOptions()),
                *(None, str(version).encode(), (ctypes.c_char_p * 1)(b"serve"), 1),
                *(self.graph, None, self.status),
            )
        )
        assert self.reason() is None, self.reason()

    def reason(self) -> str | None:
        """What went wrong last; None: nothing."""
        if self.tf.TF_GetCode(self.status) == 0:
            return None
        return str(self.tf.TF_Message(self.status).decode())

    def ask(self, input_name: str, output_name: str, value: Any) -> Answer:
        """Feeds an array, or files as a list of bytes, and fetches an output."""
        given, wanted = self._find(input_name), self._find(output_name)
        if given is None or wanted is None:
            return "no such tensor"
        tensor = ctypes.c_void_p(
            self._strings(value) if isinstance(value, list) else self._numbers(value)
        )
        result = ctypes.c_void_p()
        self.tf.TF_SessionRun(
            *(self.session, None, ctypes.byref(given), ctypes.byref(tensor), 1),
            *(ctypes.byref(wanted), ctypes.byref(result), 1),
            *(None, 0, None, self.status),
        )
        self.tf.TF_DeleteTensor(tensor)
        if (reason := self.reason()) is not None:
            return reason
        shape = [self.tf.TF_Dim(result, i) for i in range(self.tf.TF_NumDims(result))]
        data = self.tf.TF_TensorData(result)
        size = 4 * int(np.prod(shape))
        answer = np.frombuffer(ctypes.string_at(data, size), np.float32).reshape(shape)
        self.tf.TF_DeleteTensor(result)
        return answer

    def _find(self, name: str) -> Output | None:
        operation, _, index = name.partition(":")
        found = self.tf.TF_GraphOperationByName(self.graph, operation.encode())
        return Output(found, int(index)) if found else None

    def _allocate(self, kind: int, shape: tuple[int, ...], size: int) -> int:
        dims = (ctypes.c_int64 * max(1, len(shape)))(*shape)
        return int(self.tf.TF_AllocateTensor(kind, dims, len(shape), size))

    def _numbers(self, value: np.ndarray) -> int:
        kind = TYPES[value.dtype.name]
        tensor = self._allocate(kind, value.shape, value.nbytes)
        data = ctypes.c_void_p(self.tf.TF_TensorData(ctypes.c_void_p(tensor)))
        ctypes.memmove(data, value.tobytes(), value.nbytes)
        return tensor

    def _strings(self, files: list[bytes]) -> int:
        item = 24  # bytes of a TF_TString
        tensor = self._allocate(STRING, (len(files),), item * len(files))
        start = self.tf.TF_TensorData(ctypes.c_void_p(tensor)) or 0
        for i, data in enumerate(files):
            place = ctypes.c_void_p(start + item * i)
            self.tf.TF_StringInit(place)
            self.tf.TF_StringCopy(place, data, ctypes.c_size_t(len(data)))
        return tensor


def malformed(
    rng: np.random.Generator, shape: tuple[int, int, int], jpeg: bytes
) -> dict[str, tuple[str, Any]]:
    """Returns one malformed request of each kind: its signature and what it sends."""
    height, width, channels = shape
    kinds: dict[str, tuple[str, Any]] = {}
    images = rng.uniform(0, 255, (int(rng.integers(1, 4)), *shape)).astype("float32")
    for rank in (0, 1, 2, 3, 5, 6):
        dims = (*rng.integers(1, 9, 6), *shape)[9 - rank :]
        kinds[f"rank {rank}"] = "pixels", rng.uniform(0, 255, dims).astype("float32")
    other = rng.integers(0, 40, 3)
    sizes = {
        "height": (other[0] + height * (other[0] == height), width, channels),
        "width": (height, other[1] + width * (other[1] == width), channels),
        "channels": (height, width, other[2] + channels * (other[2] == channels)),
        "height and width swapped": (width, height, channels),
    }
    for name, size in sizes.items():
        batch = rng.uniform(0, 255, (len(images), *size))
        kinds[name] = "pixels", batch.astype("float32")
    for value in (np.nan, np.inf, -np.inf):
        spoiled = images.copy()
        spoiled[(-1, *(rng.integers(0, n) for n in shape))] = value
        kinds[f"{value}"] = "pixels", spoiled
    kinds["no image"] = "pixels", images[:0]
    kinds["no file"] = "files", []
    for dtype in ("float64", "int32", "uint8", "int64", "bool"):
        kinds[dtype] = "pixels", images.astype(dtype)
    kinds["pixels as files"] = "files", images
    kinds["files as pixels"] = "pixels", [jpeg]
    kinds["noise"] = "files", [rng.bytes(int(rng.integers(0, 300)))]
    kinds["cut file"] = "files", [jpeg, jpeg[: int(rng.integers(0, len(jpeg) // 2))]]
    kinds["noise in a file"] = "files", [jpeg[:30] + rng.bytes(300)]
    kinds["wrong name"] = "nothing", images
    return kinds


def ask(
    version: Path, requests: int = 1000, seed: int = 0
) -> dict[str, dict[str, int]]:
    """Sends the requests; returns for each kind how often what was answered."""
    import tensorflow as tf

    found = signatures(version)
    names: dict[str, tuple[str, str]] = {"nothing": ("nothing:0", "nothing:0")}
    for kind, signature in {
        "pixels": "serving_default",
        "files": "classify_bytes",
    }.items():
        (given,) = found[signature].inputs.values()
        names[kind] = given.name, found[signature].outputs["probabilities"].name
    (given,) = found["serving_default"].inputs.values()
    shape = tuple(int(d.size) for d in given.tensor_shape.dim[1:])
    rng = np.random.default_rng(seed)
    good = rng.uniform(0, 255, (2, *shape)).astype(np.float32)
    jpeg = bytes(tf.io.encode_jpeg(good[0].astype(np.uint8)).numpy())
    server = Server(version)
    first = server.ask(*names["pixels"], good)
    assert isinstance(first, np.ndarray), first
    told: dict[str, Counter[str]] = {}
    for _ in range(requests):
        kinds = malformed(rng, shape, jpeg)
        kind = random.Random(int(rng.integers(2**31))).choice(list(kinds))
        signature, value = kinds[kind]
        answer = server.ask(*names[signature], value)
        told.setdefault(kind, Counter())[said(answer)] += 1
        again = server.ask(*names["pixels"], good)
        assert isinstance(again, np.ndarray) and np.array_equal(first, again), kind
    return {kind: dict(told[kind]) for kind in sorted(told)}


def said(answer: Answer) -> str:
    """An answer in words: which images got numbers; of a reason its first line."""
    if isinstance(answer, str):
        return "refused"
    rows = ["NaN" if np.isnan(row).all() else "answered" for row in answer]
    return ", ".join(rows[-1:]) or "none"


if __name__ == "__main__":
    os.environ.update({"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"})
    print(json.dumps(ask(Path(sys.argv[1]), *map(int, sys.argv[2:])), indent=1))
