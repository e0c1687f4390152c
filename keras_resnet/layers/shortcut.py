"""Implements shortcut option A."""

from typing import Any

import keras
from keras import KerasTensor, ops

from keras_resnet.layers.registry import register


@register
class ZeroPaddedShortcut(keras.layers.Layer):
    """Shortcut option A: every ``stride``-th pixel, with new channels of zeros.

    The layer has no parameters. Reference: He et al., "Deep Residual Learning for Image
    Recognition", 2016, section 3.3 (A).

    Args:
        filters: Channels of the output; not less than those of the input.
        stride: Step in pixels.
        **kwargs: Arguments of ``keras.layers.Layer``.
    """

    def __init__(self, filters: int, stride: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.stride = stride

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Maps ``(N, H, W, C)`` to ``(N, ⌈H/s⌉, ⌈W/s⌉, filters)``."""
        x = inputs[:, :: self.stride, :: self.stride]
        new = self.filters - inputs.shape[-1]
        return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, new)))

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns ``(N, ⌈H/s⌉, ⌈W/s⌉, filters)``."""
        sides = (None if n is None else -(-n // self.stride) for n in input_shape[1:3])
        return (input_shape[0], *sides, self.filters)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        return {**config, "filters": self.filters, "stride": self.stride}
