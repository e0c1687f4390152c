"""Loads ``.keras`` files that contain networks of this library and nothing else."""

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import keras

from keras_resnet.errors import UsageError

# The built-in Keras layers that these networks use. They exclude Lambda, which runs
# Python code from the file, and TFSMLayer, which loads another program.
LAYERS = {
    *("Activation", "Add", "AveragePooling2D", "BatchNormalization", "Concatenate"),
    *("Conv2D", "Dense", "DepthwiseConv2D", "Dropout", "Flatten"),
    *("GlobalAveragePooling2D", "InputLayer", "MaxPooling2D", "Multiply", "ReLU"),
    *("Rescaling", "ZeroPadding2D"),
}
MODELS = {"keras.src.models.functional": {"Functional"}, "keras": {"DTypePolicy"}}
# These initialise, penalise or constrain weights; all of them are plain arithmetic.
MODULES = ("keras.initializers", "keras.regularizers", "keras.constraints")
OURS = "keras_resnet>"
# Errors from reading a damaged zip file or a zip file that Keras did not write.
BROKEN = (BadZipFile, EOFError, KeyError, RuntimeError, ValueError, zlib.error)


def load_model(path: str | Path) -> keras.Model:
    """Loads a ``.keras`` file of any network of this library, without its optimizer.

    The function runs no code from the file: Keras' safe mode is on, and it rejects a
    file that contains any other object than the parts of these networks.

    Raises:
        UsageError: The file is missing, unreadable or damaged, or it is not a
            ``.keras`` file of such a network.
    """
    if not Path(path).is_file():
        raise UsageError(f"model file must exist, got {path}")
    require_known_objects(path)
    with reading(path):
        return keras.models.load_model(path, compile=False, safe_mode=True)


def require_known_objects(path: str | Path) -> None:
    """Checks that a ``.keras`` file describes a network of known objects only.

    Raises:
        UsageError: It is no such file, or it contains another object, e.g. a Lambda.
    """
    config = _config(path)
    if isinstance(config, dict):
        config.pop("compile_config", None)  # unused without compiling
    for described in _objects(config):
        if not _is_known(described):
            raise UsageError(
                "model file must contain only layers of this library's networks, got "
                f"{described.get('registered_name') or described['class_name']} in "
                f"{path}; if you trust it, load it with keras.models.load_model"
            )


def _config(path: str | Path) -> Any:
    """Returns the config in a file after it verifies the checksums of all members."""
    try:
        with reading(path), ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise BadZipFile(f"{damaged} is damaged")
            return json.loads(archive.read("config.json"))
    except UsageError:
        raise
    except BROKEN as fault:
        raise UsageError(
            f"model file must be a complete .keras file, got {path}: {fault}"
        ) from None


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turns an OSError in the ``with`` block into a UsageError of one sentence.

    Raises:
        UsageError: The file cannot be read.
    """
    try:
        yield
    except OSError as fault:
        raise UsageError(
            f"model file must be readable, got {path}: {fault.strerror or fault}"
        ) from None


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yields the description of every object that Keras would create from a config."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        config = list(config.values())
    for item in config if isinstance(config, list) else []:
        yield from _objects(item)


def _is_known(described: dict[str, Any]) -> bool:
    kind, module = described["class_name"], described.get("module") or ""
    if kind == "__keras_tensor__":
        return True
    name = described.get("registered_name") or ""
    if kind == "function":
        name = described["config"]
    if str(name).startswith(OURS):
        return keras.saving.get_registered_object(name) is not None
    if module == "keras.layers":
        return kind in LAYERS
    return module in MODULES or kind in MODELS.get(module, ())
