"""Computes a batch in consecutive parts to save memory."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from training.data.types import Tensor

Compute = Callable[[Tensor, Tensor, float], list[Tensor]]
Part = Callable[[Tensor, int], list[Tensor]]  # first example, length -> results


def accumulate(
    compute: Compute,
    images: Tensor,
    labels: Tensor,
    parts: int,
    *,
    like: Sequence[Tensor],
    unrolled: bool = False,
) -> list[Tensor]:
    """Returns the sum of the results of ``compute`` over the parts of a batch.

    Unlike with Keras' ``gradient_accumulation_steps``, whose learning rate and moving
    average count parts as steps, all parts belong to one step, and parts of different
    sizes are weighted by their number of examples.

    Args:
        compute: Maps images, labels and their share of the batch to tensors.
        images: ``(N, …)``; N must be static unless ``parts`` is 1.
        labels: ``(N, …)``.
        parts: Number of parts, of ⌈N / parts⌉ examples; the last may have fewer.
        like: Tensors with the shapes and dtypes of the results of ``compute``.
        unrolled: Whether to build the parts one by one instead of as a loop, inside
            which replicas cannot communicate.
    """
    if parts == 1:
        return compute(images, labels, 1.0)
    count = images.shape[0]
    size = -(-count // parts)
    if size == count:
        return compute(images, labels, 1.0)

    def part(begin: Tensor, length: int) -> list[Tensor]:
        pixels, classes = (_cut(x, begin, length) for x in (images, labels))
        return compute(pixels, classes, length / count)

    zeros = [tf.zeros_like(x) for x in like]
    total = _sum_one_by_one if unrolled else _sum_in_loop
    return total(part, zeros, count, size)


def _sum_one_by_one(
    part: Part, sums: list[Tensor], count: int, size: int
) -> list[Tensor]:
    for begin in range(0, count, size):
        # One after the other, or all parts would be in memory together.
        with tf.control_dependencies(sums):
            computed = part(tf.constant(begin), min(size, count - begin))
        sums = _add(sums, computed)
    return sums


def _sum_in_loop(part: Part, sums: list[Tensor], count: int, size: int) -> list[Tensor]:
    whole = count // size

    def add(number: Tensor, *sums: Tensor) -> tuple[Tensor, ...]:
        return number + 1, *_add(sums, part(number * size, size))

    _, *sums = tf.while_loop(
        lambda number, *_: number < whole,
        add,
        (tf.constant(0), *sums),
        parallel_iterations=1,  # one part in memory at a time
        maximum_iterations=whole,
    )
    if count % size:  # outside the loop, since XLA requires static shapes
        sums = _add(sums, part(tf.constant(whole * size), count % size))
    return sums


def _add(some: Sequence[Tensor], more: Sequence[Tensor]) -> list[Tensor]:
    return [a + b for a, b in zip(some, more, strict=True)]


def _cut(x: Tensor, begin: Tensor, length: int) -> Tensor:
    rest = x.shape[1:]
    return tf.slice(x, [begin, *[0] * len(rest)], [length, *rest])
