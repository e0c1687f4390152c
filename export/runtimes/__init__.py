"""Runs artifacts in various runtimes, independently of the rest of this project.

Each runtime has a module with ``open_session(path)``, which loads an artifact and
returns a ``Session``. Only that module imports the runtime's packages, so that each
runtime works without the others.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Session:
    """An artifact loaded by a runtime.

    Attributes:
        classify: Pixels 0–255 ``(N, H, W, C)`` → probabilities float32 ``(N,
            classes)``.
        shape: Height, width and channels of an image.
        classify_files: Image files' bytes → ``probabilities`` and, if the artifact
            returns them, the most probable ``class_id`` int64 ``(N,)`` and its
            ``label`` ``(N,)``; None if the runtime cannot run a decoder or the artifact
            has none.
        features: Pixels → input of the last layer, float32 ``(N, C)``; None if the
            runtime or the artifact does not support it.
        device: ``"CPU"`` or ``"GPU"``.
        stays: Whether the artifact stays loaded between calls.
    """

    classify: Callable[[Array], Array]
    shape: tuple[int, ...]
    classify_files: Callable[[list[bytes]], dict[str, Array]] | None = None
    features: Callable[[Array], Array] | None = None
    device: str = "CPU"
    stays: bool = True


@dataclass(frozen=True)
class Runtime:
    """Requirements and capabilities of a runtime.

    Attributes:
        module: Name of its module in this package.
        package: Import name of the package that it requires.
        kinds: Kinds of artifacts that it reads.
        program: A command that it requires.
    """

    module: str
    package: str
    kinds: tuple[str, ...]
    program: str | None = None

    @property
    def installed(self) -> bool:
        """Whether the required package and program are installed."""
        found = find_spec(self.package) is not None
        return found and (self.program is None or which(self.program) is not None)

    def open(self, path: Path) -> Session:
        """Loads an artifact of one of its kinds.

        The session raises ValueError for inputs of other shapes and dtypes than its
        fields state. It returns NaN for an image with a NaN or infinite pixel.
        """
        module = import_module(f"{__name__}.{self.module}")
        opened: Session = module.open_session(path)
        features = opened.features and _checked(opened.features, opened.shape)
        classify = _checked(opened.classify, opened.shape)
        return replace(opened, classify=classify, features=features)


def _checked(
    ask: Callable[[Array], Array], shape: tuple[int | None, ...]
) -> Callable[[Array], Array]:
    """Adds input checks, so that all runtimes raise the same messages."""

    def checked(images: Array) -> Array:
        images = np.asarray(images)
        if images.dtype.kind not in "biuf":
            raise ValueError(f"images must be numbers, got dtype {images.dtype}")
        # Artifacts of other programs may have sides of any length.
        wanted = [n if isinstance(n, int) else "any" for n in shape]
        sides = zip(wanted, images.shape[1:], strict=False)
        fits = images.ndim == 1 + len(shape) and all(n in ("any", m) for n, m in sides)
        if not fits:
            raise ValueError(
                f"images must be (N, {', '.join(map(str, wanted))}), got {images.shape}"
            )
        if len(images) == 0:  # TFLite files reject an empty batch
            return ask(np.zeros((1, *images.shape[1:]), np.float32))[:0]
        answer = ask(images)
        with np.errstate(all="ignore"):  # the sum of inf and -inf
            if np.isfinite(images.sum()):
                return answer
        # 8-bit files take integers, which cannot represent NaN.
        finite = np.isfinite(images).all(tuple(range(1, images.ndim)))
        return np.where(finite[:, None], answer, np.nan)

    return checked


def levels(images: Array, dtype: Any) -> Array:
    """Returns pixels as integers 0–255, the input of an 8-bit file."""
    return np.rint(np.clip(np.nan_to_num(images), 0, 255)).astype(dtype)


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
