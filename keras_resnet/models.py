"""Creates networks with fresh or given weights."""

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
    """Builds a network: normalised images in, logits out.

    Args:
        name: One of ``list_models()``.
        input_shape: ``(H, W, C)``; H and W may be None (any size). Default: the
            paper's.
        classes: Number of classes; 0 gives pooled features ``(N, C)`` instead of
            logits. Default: the paper's.
        dtype: Keras dtype policy, say ``"mixed_bfloat16"``. Default: the global one.
        weights: A file of weights (``.keras``, ``.h5``, ``.weights.h5``, or
            torchvision's and timm's ``.pth`` and ``.safetensors``), or ``"imagenet"``
            for those that keras.applications publishes. A head for another number of
            classes is left out, with a warning. Default: fresh ones.
        **overrides: Fields of the network's spec to replace, say ``shortcut="C"``.

    Returns:
        A functional model ``(N, H, W, C)`` → float32 logits ``(N, classes)``.

    Raises:
        UsageError: Unknown name or field, or an input smaller than the smallest
            that the network takes.
    """
    model = build_model(
        name, input_shape=input_shape, classes=classes, dtype=dtype, **overrides
    )
    if weights == "imagenet":
        load_imagenet(model)
    elif weights is not None:
        load_file(model, weights)
    return model
