"""Computes the filters' gradients of 1×1 convolutions as matrix products."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keras_resnet.layers.nested import leaf_layers


@contextmanager
def gradients_by_products(model: keras.Model, wanted: bool = True) -> Iterator[None]:
    """Replaces gradients of 1×1 convolutions inside the block, if ``wanted``.

    The gradient of the filters of a 1×1 convolution with stride 1 is one matrix product
    of its input and its output's gradient. On CPUs with AMX it takes about a third of
    the time of oneDNN's convolution gradient; on others it gains nothing. The model is
    restored afterwards. It requires the TensorFlow backend.

    Args:
        model: The model, whose training step is traced inside the block.
        wanted: Whether to replace the gradients.
    """
    layers = [x for x in leaf_layers(model) if wanted and _is_pointwise(x)]
    for layer in layers:
        layer.convolution_op = _convolution
    try:
        yield
    finally:
        for layer in layers:
            del layer.convolution_op


def _is_pointwise(layer: keras.Layer) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and layer.kernel_size == layer.strides == (1, 1)
        and layer.groups == 1
        and layer.data_format == "channels_last"
    )


def _convolution(inputs: Any, kernel: Any) -> Any:
    """Returns the 1×1 convolution of ``(N, H, W, C)``, as ``Conv2D`` computes it."""
    import tensorflow as tf

    @tf.custom_gradient
    def convolution(x: Any, filters: Any) -> Any:
        def gradient(dy: Any) -> Any:
            dx = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x),
                filter=filters,
                out_backprop=dy,
                strides=[1, 1, 1, 1],
                padding="VALID",
            )
            rows, columns = (tf.reshape(t, (-1, t.shape[-1])) for t in (x, dy))
            product = tf.matmul(rows, columns, transpose_a=True)
            return dx, tf.reshape(product, filters.shape)

        return tf.nn.conv2d(x, filters, 1, "VALID"), gradient

    return convolution(inputs, tf.convert_to_tensor(kernel))
