"""What runs an exported network: one module a runtime, none knows this project.

A runtime's module has ``open_session(path, kind)``, which loads an artifact and returns
a ``Session``. Its packages are imported only there, so that each works without the
others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Session:
    """An artifact, loaded by a runtime.

    Attributes:
        classify: Pixels 0–255 ``(N, H, W, C)`` → probabilities float32 ``(N,
            classes)``.
        shape: Height, width and channels of an image.
        classify_files: Image files' bytes → ``probabilities`` and, where the artifact
            names them, the most probable ``class_id`` int64 ``(N,)`` and its ``label``
            ``(N,)``; None where the runtime cannot run a decoder or the artifact has
            none.
        features: Pixels → what the last layer takes, float32 ``(N, C)``; None where the
            runtime cannot ask for it or the artifact doesn't tell.
        device: ``"CPU"`` or ``"GPU"``.
        stays: The artifact stays loaded between calls.
    """

    classify: Callable[[Array], Array]
    shape: tuple[int, ...]
    classify_files: Callable[[list[bytes]], dict[str, Array]] | None = None
    features: Callable[[Array], Array] | None = None
    device: str = "CPU"
    stays: bool = True


@dataclass(frozen=True)
class Runtime:
    """A way to run artifacts.

    Attributes:
        module: Name of its module here.
        package: What it needs to have installed, as it is imported.
        kinds: Kinds of artifacts that it reads.
        program: A command that it needs.
    """

    module: str
    package: str
    kinds: tuple[str, ...]
    program: str | None = None

    @property
    def installed(self) -> bool:
        """Whether what it needs is here."""
        found = find_spec(self.package) is not None
        return found and (self.program is None or which(self.program) is not None)

    def open(self, path: Path, kind: str) -> Session:
        """Loads an artifact of one of its kinds."""
        opened: Session = import_module(f"{__name__}.{self.module}").open_session(
            path, kind
        )
        return opened


RUNTIMES = {
    "tensorflow": Runtime("tensorflow", "tensorflow", ("SavedModel",)),
    "c-api": Runtime("c_api", "tensorflow", ("SavedModel",), program="cc"),
    "litert": Runtime("litert", "ai_edge_litert", ("TFLite",)),
    "onnxruntime": Runtime("onnxruntime", "onnxruntime", ("ONNX",)),
    "openvino": Runtime("openvino", "openvino", ("SavedModel", "TFLite", "ONNX")),
}


def readers(kind: str, *, installed: bool = True) -> list[str]:
    """Returns the names of the runtimes that read artifacts of a kind."""
    return [
        name
        for name, runtime in RUNTIMES.items()
        if kind in runtime.kinds and (runtime.installed or not installed)
    ]
