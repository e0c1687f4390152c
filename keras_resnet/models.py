"""Creates networks with fresh or existing weights."""

from pathlib import Path
from typing import Any

import keras

from keras_resnet.catalogue import build_model
from keras_resnet.weights import load_file, load_imagenet


def create_model(
    name: str,
    *,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int | None = None,
    dtype: str | None = None,
    weights: str | Path | None = None,
    **overrides: Any,
) -> keras.Model:
    """Builds a model that maps normalised images to logits.

    Args:
        name: One of ``list_models()``.
        input_shape: ``(H, W, C)``; H and W may be None (any size). Default: the
            paper's.
        classes: Number of classes; 0 returns pooled features ``(N, C)`` instead of
            logits. Default: the paper's.
        dtype: Keras dtype policy, e.g. ``"mixed_bfloat16"``. Default: the global one.
        weights: A weight file (``.keras``, ``.h5``, ``.weights.h5``, or torchvision's
            and timm's ``.pth``, ``.pt`` and ``.safetensors``), or ``"imagenet"`` for
            the weights that keras.applications publishes. A head for another number
            of classes is skipped with a warning. Default: fresh weights.
        **overrides: Fields of the network's spec to replace, e.g. ``shortcut="C"``.

    Returns:
        A functional model ``(N, H, W, C)`` → float32 logits ``(N, classes)``.

    Raises:
        UsageError: The name or a field is unknown, a value is invalid, the input is
            smaller than the network supports, or the weights do not fit.
    """
    model = build_model(
        name, input_shape=input_shape, classes=classes, dtype=dtype, **overrides
    )
    if weights == "imagenet":
        load_imagenet(model)
    elif weights is not None:
        load_file(model, weights)
    return model
