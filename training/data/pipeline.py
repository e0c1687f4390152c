"""From a data set to batches, as a pure function of seed, epoch and position.

The order of an epoch is a stateless permutation of the indices, and every example has
a seed of its own. So an epoch can be entered anywhere, and any number of threads gives
the same batches.
"""

import os
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from training.augmentation import augment
from training.augmentation.changes import (
    appearance,
    flips,
    geometry,
    mixed,
    training_size,
)
from training.augmentation.mixing import Mixing
from training.data import images
from training.data.batches import Batches
from training.data.datasets import Dataset, Split
from training.data.examples import read_window
from training.data.images import Tensor
from training.data.preprocessing import Preprocessing
from training.distributed.strategy import WHOLE, Share
from training.recipe import Recipe

AHEAD = 4  # batches that are made while one is trained on


def training_batches(
    recipe: Recipe,
    dataset: Dataset,
    prepared: Preprocessing,
    *,
    epoch: int,
    first_step: int = 0,
    share: Share = WHOLE,
) -> Batches:
    """One epoch's batches of augmented pixels and labels, each example once.

    With ``repeats`` N an epoch has each N-th example N times instead, in a row, each
    augmented by itself.

    Args:
        recipe: Batch size, augmentation and seed.
        dataset: Its training split is read.
        prepared: The way into the network.
        epoch: Number of the epoch, from 0.
        first_step: Batches to leave out at the beginning.
        share: The part of every batch to read; the batch size is a multiple of the
            number of parts.

    Returns:
        Batches ``(uint8 (B, H, W, C), int64 (B,))``; the last one may be smaller, and
        is in every share whole where it has fewer examples than there are shares
        (``copies``). With mixup or cutmix, each share mixed in itself, targets
        ``float32 (B, classes)`` are in the place of labels.
    """
    split = dataset.splits["train"]
    epoch_seed = tf.constant([recipe.seed, epoch])
    size = training_size(recipe, prepared.size, epoch)
    prepared = replace(prepared, size=size)

    def example(position: Tensor) -> tuple[Tensor, Tensor]:
        index, seed = drawn(recipe, len(split), epoch_seed, position)
        image = _augmented(recipe, dataset, prepared, index, seed)
        return image, split.labels[index]

    positions = range(first_step * recipe.batch_size, len(split))
    rest = len(split) % recipe.batch_size
    if positions and 0 < rest < share[1]:
        divided, last = positions[:-rest], positions[-rest:]
        batches = _batches(divided, example, recipe.batch_size, share)
        batches = batches.concatenate(_batches(last, example, rest))
    else:
        batches = _batches(positions, example, recipe.batch_size, share)
    if recipe.mixup or recipe.cutmix:
        mixing = Mixing(recipe.mixup, recipe.cutmix, len(dataset.labels))
        batches = mixed(batches, mixing, epoch_seed, first_step, cores())
    return Batches(batches.prefetch(AHEAD).with_options(threading()))


def drawn(
    recipe: Recipe, count: int, epoch_seed: Tensor, position: Tensor
) -> tuple[Tensor, Tensor]:
    """What chance decides of an example.

    Args:
        recipe: How many copies of an image stand side by side.
        count: Images of the split.
        epoch_seed: int32 ``(2,)``.
        position: Of the example in the epoch, int64.

    Returns:
        The index of its image, and the seed of its augmentation.
    """
    fold = tf.random.experimental.stateless_fold_in
    index = tf.random.experimental.index_shuffle(
        position // recipe.repeats, epoch_seed, np.int64(count - 1)
    )
    seed = fold(epoch_seed, tf.cast(index, tf.int32))
    if recipe.repeats > 1:
        seed = fold(seed, tf.cast(position % recipe.repeats, tf.int32))
    return index, seed


def copies(examples: int, shares: int) -> int:
    """How many shares have each example of a training batch.

    Args:
        examples: That are left, with this batch, of the epoch.
        shares: The parts of every batch.
    """
    return shares if examples < shares else 1


def evaluation_batches(
    split: Split, prepared: Preprocessing, batch_size: int, share: Share = WHOLE
) -> Batches:
    """Batches of a split's pixels and labels, in order, each example exactly once.

    Of a share there are as many batches as of any other; the last may be empty.
    """
    window = prepared.window if prepared.crop < 1 else None

    def example(index: Tensor) -> tuple[Tensor, Tensor]:
        image = read_window(split, index, prepared, window)
        return image, split.labels[index]

    batches = _batches(range(len(split)), example, batch_size, share)
    return Batches(batches.prefetch(AHEAD).with_options(threading()))


def _batches(
    indices: range, example: Any, batch_size: int, share: Share = WHOLE
) -> tf.data.Dataset:
    part, parts = share
    size = max(batch_size // parts, 1)
    batches = (
        tf.data.Dataset.range(indices.start + part, indices.stop, parts)
        .map(example, num_parallel_calls=cores(), deterministic=True)
        .batch(size)
    )
    own, most = (-(-len(indices[first::parts]) // size) for first in (part, 0))
    if own < most:  # the replicas take every step together
        shapes = tf.nest.map_structure(
            lambda x: tf.zeros((0, *x.shape[1:]), x.dtype), batches.element_spec
        )
        batches = batches.concatenate(tf.data.Dataset.from_tensors(shapes))
    return batches


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def threading() -> tf.data.Options:
    """A thread a core, each with an image of its own, instead of all at each image.

    On two idle cores 1.4 to 1.7 times as fast as TensorFlow's defaults. Nothing is
    left to its autotuning: an iterator that has it sometimes waits, when it is done,
    for the tuner's next look, which is as far away as the epoch was long.
    """
    options = tf.data.Options()
    options.threading.private_threadpool_size = cores()
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    return options


def _augmented(
    recipe: Recipe,
    dataset: Dataset,
    prepared: Preprocessing,
    index: Tensor,
    seed: Tensor,
) -> Tensor:
    """One training image, changed at random by its own seed."""
    kind = geometry(recipe, dataset)
    window = window_of(kind, prepared, seed)
    image = read_window(dataset.splits["train"], index, prepared, window, quickly=True)
    if kind == "pad_crop":
        pad = min(prepared.size) // 8 if recipe.pad is None else recipe.pad
        image = augment.pad_crop(image, pad, seed + 2)
    if flips(recipe, dataset):
        image = augment.flip(image, seed + 3)
    return appearance(recipe, prepared, image, seed)


def window_of(
    kind: str, prepared: Preprocessing, seed: Tensor
) -> images.WindowOf | None:
    """What gives the window of an augmentation; None: it looks at the whole image."""
    if kind == "scale_crop":
        return partial(augment.scale_window, size=prepared.size, seed=seed)
    if kind == "area_crop":
        return partial(augment.area_window, seed=seed)
    return None
