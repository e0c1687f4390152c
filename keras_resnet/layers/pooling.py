"""Implements max pooling with symmetric padding."""

import keras
from keras import KerasTensor, ops

from keras_resnet.layers.registry import register


@register
class MaxPooling2D(keras.layers.MaxPooling2D):
    """Max pooling, padded symmetrically by ``pool_size // 2`` of −∞.

    The layer repeats the border pixels. The result is the same, because every window
    with a copy contains its pixel, and unlike −∞ it supports integer quantisation.
    """

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Pools ``(N, H, W, C)`` to ``(N, ⌈H/s⌉, ⌈W/s⌉, C)`` for an odd pool size."""
        rows, columns = (size // 2 for size in self.pool_size)
        padding = [(0, 0), (rows, rows), (columns, columns)]
        padding.insert(self._channel_axis(), (0, 0))
        return super().call(ops.pad(inputs, padding, mode="symmetric"))

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the shape after padding and pooling."""
        count, *sides = input_shape
        channels = sides.pop(self._channel_axis() - 1)
        shape = [
            None if side is None else side + 2 * (size // 2)
            for side, size in zip(sides, self.pool_size, strict=True)
        ]
        shape.insert(self._channel_axis() - 1, channels)
        return super().compute_output_shape((count, *shape))

    def _channel_axis(self) -> int:
        return 3 if self.data_format == "channels_last" else 1
