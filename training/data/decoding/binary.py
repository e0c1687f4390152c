"""Numbers in the bytes of a file, inside a graph."""

from typing import Any

import tensorflow as tf

from training.data.types import Tensor


def substring(data: Tensor, start: Any, size: Any = -1) -> Tensor:
    """Returns at most ``size`` bytes of a scalar string from ``start`` on; -1: all."""
    # Beyond the end, the error would hold the whole string, which is no text.
    start = tf.minimum(
        tf.cast(start, tf.int64), tf.cast(tf.strings.length(data), "int64")
    )
    return tf.strings.substr(data, start, tf.cast(size, tf.int64))


def octets(data: Tensor, start: Any = 0, size: Any = -1) -> Tensor:
    """Returns bytes of a scalar string, uint8 ``(N,)``, fewer where it ends before."""
    return tf.io.decode_raw(substring(data, start, size), tf.uint8)


def part(data: Tensor, start: Any, size: int) -> Tensor:
    """Returns bytes of a scalar string, int64 ``(size,)``, that must be there."""
    return tf.cast(tf.ensure_shape(octets(data, start, size), (size,)), tf.int64)


def head(data: Tensor, size: int) -> Tensor:
    """Returns a string's first bytes as int64 ``(size,)``, zeros behind its end."""
    found = tf.cast(octets(data, 0, size), tf.int64)
    return tf.ensure_shape(tf.pad(found, [[0, size - tf.size(found)]]), (size,))


def starts(head: Tensor, magic: bytes) -> Tensor:
    """Whether bytes start with others."""
    return tf.reduce_all(head[: len(magic)] == list(magic))


def numbers(octets: Tensor, size: int) -> list[Tensor]:
    """Returns the little-endian numbers of ``size`` bytes each, int64."""
    places = tf.constant([256**i for i in range(size)], tf.int64)
    values = tf.reduce_sum(tf.reshape(octets, (-1, size)) * places, -1)
    return list(tf.unstack(values))


def number(data: Tensor, start: Any, size: int) -> Tensor:
    """Returns the little-endian number of ``size`` bytes at ``start``, int64."""
    return tf.reduce_sum(data[start : start + size] * [256**i for i in range(size)])
