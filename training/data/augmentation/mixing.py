"""Mixes images and targets of a batch in pairs by mixup or cutmix.

Both are pure functions of the batch and its seed. Each batch has one λ, as in the code
of the papers, and a random permutation pairs its images.
"""

from dataclasses import dataclass

import tensorflow as tf

from training.data.types import Tensor

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Mixing:
    """Mixes batches by mixup, cutmix or a random choice between the two.

    Attributes:
        mixup: α of mixup; 0: no mixup.
        cutmix: α of cutmix; 0: no cutmix. If both are set, each has probability 0.5.
        classes: Number of classes.
    """

    mixup: float
    cutmix: float
    classes: int

    def __call__(self, images: Tensor, labels: Tensor, seed: Tensor) -> Batch:
        """Mixes a batch.

        Args:
            images: uint8 ``(B, H, W, C)``.
            labels: Class numbers ``(B,)``.
            seed: Seed of the batch, int32 ``(2,)``.

        Returns:
            Mixed images of the same shape, and targets, float32 ``(B, classes)``.
        """
        mix_seed = tf.random.experimental.stateless_fold_in(seed, 1)
        targets = tf.one_hot(labels, self.classes)

        def mixed_up() -> Batch:
            return mixup(images, targets, self.mixup, mix_seed)

        def cut() -> Batch:
            return cutmix(images, targets, self.cutmix, mix_seed)

        if not self.cutmix:
            return mixed_up()
        if not self.mixup:
            return cut()
        heads = tf.random.stateless_uniform((), seed) < 0.5
        pixels, soft = tf.cond(heads, mixed_up, cut)
        return tf.ensure_shape(pixels, images.shape), tf.ensure_shape(
            soft, targets.shape
        )


def mixup(images: Tensor, targets: Tensor, alpha: float, seed: Tensor) -> Batch:
    """Returns ``λ·x + (1 − λ)·x'`` of images and targets, with λ from Beta(α, α).

    Args:
        images: uint8 ``(B, H, W, C)``.
        targets: float32 ``(B, classes)``.
        alpha: α, greater than 0.
        seed: Seed of the draws, int32 ``(2,)``.

    Reference: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018, eq. 2.
    """
    share = beta(alpha, seed)
    partner = permutation(tf.shape(images)[0], seed)
    pixels = tf.cast(images, tf.float32)
    mixed = share * pixels + (1 - share) * tf.gather(pixels, partner)
    soft = share * targets + (1 - share) * tf.gather(targets, partner)
    return tf.cast(tf.round(mixed), tf.uint8), soft


def cutmix(images: Tensor, targets: Tensor, alpha: float, seed: Tensor) -> Batch:
    """Pastes a rectangle of each image's partner into the image.

    The sides are √(1 − λ) of the image's, with λ from Beta(α, α) and a random centre.
    Targets are mixed by the area of the rectangle inside the image. For the arguments,
    see ``mixup``.

    Reference: Yun et al., "CutMix", 2019, section 3.1 and algorithm 1.
    """
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    sides = tf.stack([height, width])
    share = tf.sqrt(1 - beta(alpha, seed))
    half = tf.cast(tf.cast(sides, tf.float32) * share, tf.int32) // 2
    draws = tf.random.stateless_uniform((2,), seed + 1)
    centre = tf.cast(draws * tf.cast(sides, tf.float32), tf.int32)
    begin = tf.clip_by_value(centre - half, 0, sides)
    end = tf.clip_by_value(centre + half, 0, sides)
    rows, columns = tf.range(height)[:, None, None], tf.range(width)[None, :, None]
    within = (rows >= begin[0]) & (rows < end[0])
    within &= (columns >= begin[1]) & (columns < end[1])
    pasted = tf.cast(tf.reduce_prod(end - begin) / tf.reduce_prod(sides), tf.float32)
    partner = permutation(tf.shape(images)[0], seed)
    mixed = tf.where(within, tf.gather(images, partner), images)
    return mixed, (1 - pasted) * targets + pasted * tf.gather(targets, partner)


def beta(alpha: float, seed: Tensor) -> Tensor:
    """Returns a draw from Beta(α, α), float32.

    Computes X / (X + Y) from two Gamma(α) draws in float64, because for a small α both
    are often less than the smallest float32.
    """
    x, y = tf.unstack(
        tf.random.stateless_gamma(
            (2,), seed, tf.constant(alpha, tf.float64), dtype=tf.float64
        )
    )
    return tf.cast(x / (x + y), tf.float32)


def permutation(count: Tensor, seed: Tensor) -> Tensor:
    """Returns a random permutation of 0 … ``count`` − 1."""
    keys = tf.random.stateless_uniform((count,), seed + 2)
    return tf.argsort(keys)
