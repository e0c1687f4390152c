"""Implements a convolution whose filters see only some of the input channels."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from keras_resnet.keras_internals import set_kernel
from keras_resnet.layers.registry import register

Table = tuple[tuple[int, ...], ...]


@register
class TableConv2D(keras.layers.Conv2D):
    """Convolution of the channels that a table of connections lists for each filter.

    Every connection has one k×k kernel; unconnected channels have none. ``kernel`` has
    the shape ``(k, k, 1, connections)``, in the order of the table. It is expanded to
    one dense kernel with zeros, which is three times as fast as one convolution per
    filter.

    Reference: LeCun et al., "Gradient-Based Learning Applied to Document Recognition",
    1998, table I.

    Args:
        table: For each filter, the connected input channels, from 0.
        kernel_size: Side of the kernel in pixels.
        **kwargs: Arguments of ``keras.layers.Conv2D`` but ``filters`` and ``groups``.
    """

    def __init__(
        self, table: Sequence[Sequence[int]], kernel_size: int, **kwargs: Any
    ) -> None:
        self.filters: int
        super().__init__(len(table), kernel_size, **kwargs)
        self.table: Table = tuple(tuple(inputs) for inputs in table)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights for inputs ``(N, H, W, C)``."""
        kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, 1, sum(map(len, self.table))),
            initializer=self._initial_kernel,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        set_kernel(self, kernel)
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.built = True
        if self.lora_rank:  # as of a layer that was saved with it
            self.enable_lora(self.lora_rank, lora_alpha=self.lora_alpha)

    def _initial_kernel(
        self, shape: tuple[int, ...], dtype: str | None = None
    ) -> KerasTensor:
        """Draws for one input channel, and scales by each filter's channel count."""
        inputs = np.repeat([len(x) for x in self.table], [len(x) for x in self.table])
        scale = ops.convert_to_tensor(1 / np.sqrt(inputs), dtype)
        return self.kernel_initializer(shape, dtype=dtype) * scale

    def enable_lora(self, *args: Any, **kwargs: Any) -> None:
        """Adds low-rank weights as in Keras' convolutions, one per connection."""
        filters: int = self.filters
        self.filters = self.kernel.shape[-1]  # Keras reads the last axis from it
        try:
            super().enable_lora(*args, **kwargs)
        finally:
            self.filters = filters

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Maps ``(N, H, W, C)`` to ``(N, H', W', filters)``."""
        pairs = [(i, f) for f, listed in enumerate(self.table) for i in listed]
        first = self.data_format == "channels_first"
        channels = inputs.shape[1 if first else -1]
        place = np.zeros((len(pairs), channels, self.filters))
        place[np.arange(len(pairs)), *np.transpose(pairs)] = 1
        place = ops.convert_to_tensor(place, self.compute_dtype)
        y = self.convolution_op(
            inputs, ops.einsum("hwxp,pif->hwif", self.kernel, place)
        )
        if self.use_bias:
            bias = ops.reshape(self.bias, (-1, 1, 1)) if first else self.bias
            y = ops.add(y, bias)
        return y if self.activation is None else self.activation(y)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        del config["filters"], config["groups"]
        return {**config, "table": self.table}
