"""Lists all networks by name and builds them with fresh weights."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from fnmatch import fnmatch
from typing import Any

import keras

from keras_resnet.errors import UsageError, suggest
from keras_resnet.families.alexnet import ALEXNETS
from keras_resnet.families.densenet import DENSENETS
from keras_resnet.families.googlenet import GOOGLENETS
from keras_resnet.families.highway import HIGHWAYS
from keras_resnet.families.lenet import LENETS
from keras_resnet.families.resnet import PLAINS, RESNETS
from keras_resnet.families.resnext import RESNEXTS
from keras_resnet.families.spec import AuxiliarySpec, Spec
from keras_resnet.families.vgg import VGGS
from keras_resnet.network import Network, quick_variables
from keras_resnet.numeric import plain

MODELS: dict[str, Spec] = {
    **LENETS,
    **ALEXNETS,
    **VGGS,
    **GOOGLENETS,
    **HIGHWAYS,
    **PLAINS,
    **RESNETS,
    **RESNEXTS,
    **DENSENETS,
}


def list_models(pattern: str = "*") -> list[str]:
    """Returns the sorted names of the networks that match a shell-style pattern."""
    return sorted(name for name in MODELS if fnmatch(name, pattern))


def find_spec(name: str, **overrides: Any) -> Spec:
    """Returns the spec called ``name``, with some of its fields replaced.

    Raises:
        UsageError: The name or a field is unknown, or a value is invalid.
    """
    if name not in MODELS:
        raise UsageError(
            f"unknown model {name!r}; {suggest(name, MODELS)}"
            "keras_resnet.list_models() shows all"
        )
    spec: Any = MODELS[name]
    overrides = {field: plain(value) for field, value in overrides.items()}
    for field, value in overrides.items():
        _check_field(name, spec, field, value)
    return replace(spec, **overrides)


def _check_field(name: str, spec: Any, field: str, value: Any) -> None:
    known = [known.name for known in fields(spec)]
    if field not in known:
        raise UsageError(
            f"{name} has no field {field!r}; {suggest(field, known)}"
            f"its fields are {', '.join(known)}"
        )
    expected = type(getattr(spec, field))
    allowed = {float: (float, int)}.get(expected, (expected,))
    if type(value) not in allowed:
        raise UsageError(
            f"{field} of {name} must be of type {expected.__name__}, got {value!r}"
        )
    if expected is float and not math.isfinite(value):
        raise UsageError(f"{field} of {name} must be finite, got {value}")


def build_model(
    name: str,
    *,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int | None = None,
    dtype: str | None = None,
    **overrides: Any,
) -> keras.Model:
    """Builds a model with fresh weights; takes the arguments of ``create_model``.

    Raises:
        UsageError: The name or a field is unknown, a value is invalid, or the input
            is smaller than the network supports.
    """
    spec = find_spec(name, **overrides)
    shape = spec.input_shape if input_shape is None else plain(input_shape)
    classes = spec.classes if classes is None else plain(classes)
    if type(classes) is not int or classes < 0:
        raise UsageError(f"classes must be an integer of at least 0, got {classes!r}")
    if keras.config.image_data_format() != "channels_last":
        raise UsageError(
            "keras.config.image_data_format() must be channels_last, got "
            f"{keras.config.image_data_format()}"
        )
    _check_shape(name, shape, spec)
    with _dtype_policy(dtype), quick_variables():
        image = keras.Input(shape, dtype="float32", name="image")
        logits = spec.classifier(spec.features(image), classes)
        return Network(image, logits, name=name)


def with_auxiliary(model: keras.Model, spec: AuxiliarySpec) -> keras.Model:
    """Returns ``model`` with the logits of its auxiliary classifiers as extra outputs.

    The result is for training and shares layers and weights with ``model``, which has
    a head and was built from ``spec``.
    """
    with _dtype_policy(model.dtype_policy.name), quick_variables():
        auxiliary = spec.auxiliary(model, model.output_shape[-1])
    return Network(model.input, [model.output, *auxiliary], name=model.name)


def _check_shape(name: str, shape: tuple[int | None, ...], spec: Spec) -> None:
    known = [side for side in shape if side is not None]
    whole = all(type(side) is int and side > 0 for side in known)
    if len(shape) != 3 or shape[-1] is None or not whole:
        raise UsageError(
            "input_shape must be (height, width, channels) in positive integers (None "
            f"for any height or width), got {shape}"
        )
    sides = [side for side in shape[:2] if side is not None]
    least = spec.smallest_side
    if sides and min(sides) < least:
        smaller = "" if name.endswith("_cifar") else " or a *_cifar network"
        raise UsageError(
            f"input of {name} must be at least {least}×{least} pixels, got "
            f"{'×'.join(str(side) for side in shape[:2])}; "
            f"choose a larger image size{smaller}"
        )


@contextmanager
def _dtype_policy(dtype: str | None) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype or before)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
