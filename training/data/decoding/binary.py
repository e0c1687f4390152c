"""Reads bytes and little-endian numbers from the contents of a file, in a graph.

Unless noted, ``data`` is a scalar string; ``start`` and ``size`` count bytes.
"""

from typing import Any

import tensorflow as tf

from training.data.types import Tensor


def substring(data: Tensor, start: Any, size: Any = -1) -> Tensor:
    """Returns up to ``size`` bytes from ``start``, as a string; -1: all bytes."""
    # An offset beyond the end raises an error with the whole string, which is binary.
    start = tf.minimum(
        tf.cast(start, tf.int64), tf.cast(tf.strings.length(data), "int64")
    )
    return tf.strings.substr(data, start, tf.cast(size, tf.int64))


def octets(data: Tensor, start: Any = 0, size: Any = -1) -> Tensor:
    """Returns up to ``size`` bytes from ``start``, uint8 ``(N,)``; -1: all bytes."""
    return tf.io.decode_raw(substring(data, start, size), tf.uint8)


def part(data: Tensor, start: Any, size: int) -> Tensor:
    """Returns exactly ``size`` bytes from ``start``, int64; fewer raise an error."""
    return tf.cast(tf.ensure_shape(octets(data, start, size), (size,)), tf.int64)


def head(data: Tensor, size: int) -> Tensor:
    """Returns the first ``size`` bytes, int64, padded with zeros."""
    found = tf.cast(octets(data, 0, size), tf.int64)
    return tf.ensure_shape(tf.pad(found, [[0, size - tf.size(found)]]), (size,))


def starts(head: Tensor, magic: bytes) -> Tensor:
    """Returns whether the bytes ``head`` start with ``magic``."""
    return tf.reduce_all(head[: len(magic)] == list(magic))


def numbers(octets: Tensor, size: int) -> list[Tensor]:
    """Returns the little-endian numbers of ``size`` bytes each in ``octets``, int64."""
    places = tf.constant([256**i for i in range(size)], tf.int64)
    values = tf.reduce_sum(tf.reshape(octets, (-1, size)) * places, -1)
    return list(tf.unstack(values))


def number(data: Tensor, start: Any, size: int) -> Tensor:
    """Returns the little-endian number at ``start`` in a tensor of bytes, int64."""
    return tf.reduce_sum(data[start : start + size] * [256**i for i in range(size)])
