"""Batches of a data set, as a pure function of seed, epoch and position.

The order of an epoch is a stateless permutation of the indices, and every example has
its own seed. So an epoch can be entered at any step, and any number of threads yields
the same batches.
"""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from training.data.augmentation.augmentation import Augmentation
from training.data.augmentation.mixing import Mixing
from training.data.batches import Batches
from training.data.examples import read_window
from training.data.preprocessing import Preprocessing
from training.data.types import WHOLE, Share, Split, Tensor

AHEAD = 4  # batches that are made while one is trained on


@dataclass(frozen=True)
class TrainingData:
    """The images that a model is trained on, and everything that is done to them.

    Attributes:
        split: Images and labels.
        channels: Of the model's input.
        augmentation: Random changes to the images.
        batch_size: Examples in a batch.
        seed: Of order and augmentation.
    """

    split: Split
    channels: int
    augmentation: Augmentation
    batch_size: int
    seed: int = 0

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.split) // self.batch_size)

    def batches(self, epoch: int, first_step: int = 0, share: Share = WHOLE) -> Batches:
        """Returns one epoch's batches of augmented pixels and labels.

        An epoch has each example once. With ``repeats`` N of the augmentation it has
        each N-th example N times instead, in a row, each augmented by itself.

        Args:
            epoch: Number of the epoch, from 0.
            first_step: Batches to skip at the beginning.
            share: The part of every batch to read; the batch size must be a multiple of
                the number of parts.

        Returns:
            Batches ``(uint8 (B, H, W, C), int64 (B,))``; the last one may be smaller,
            and is whole in every share if it has fewer examples than there are shares
            (``copies``). If the augmentation mixes images, targets ``float32
            (B, classes)`` take the place of labels; each share is mixed by itself.
        """
        epoch_seed = tf.constant([self.seed, epoch])
        size = self.augmentation.size(epoch)

        def example(position: Tensor) -> tuple[Tensor, Tensor]:
            index, seed = sample_index_and_seed(
                position, len(self.split), epoch_seed, self.augmentation.repeats
            )
            window = self.augmentation.window(size, seed)
            shape = (*size, self.channels)
            image = read_window(self.split, index, shape, window, quickly=True)
            return self.augmentation(image, seed), self.split.labels[index]

        positions = range(first_step * self.batch_size, len(self.split))
        rest = len(self.split) % self.batch_size
        if positions and 0 < rest < share[1]:
            divided, last = positions[:-rest], positions[-rest:]
            batches = _batches(divided, example, self.batch_size, share)
            batches = batches.concatenate(_batches(last, example, rest))
        else:
            batches = _batches(positions, example, self.batch_size, share)
        if self.augmentation.mixing:
            batches = _mixed(batches, self.augmentation.mixing, epoch_seed, first_step)
        return Batches(batches.prefetch(AHEAD).with_options(threading()))


def evaluation_batches(
    split: Split, preprocessing: Preprocessing, batch_size: int, share: Share = WHOLE
) -> Batches:
    """Returns batches of a split's pixels and labels, in order, each example once.

    Every share has the same number of batches; the last one may be empty.

    Args:
        split: Images and labels.
        preprocessing: Size and crop of the images.
        batch_size: Examples in a batch of all shares together.
        share: The part of every batch to read.
    """
    window = preprocessing.window if preprocessing.crop < 1 else None

    def example(index: Tensor) -> tuple[Tensor, Tensor]:
        image = read_window(split, index, preprocessing.input_shape, window)
        return image, split.labels[index]

    batches = _batches(range(len(split)), example, batch_size, share)
    return Batches(batches.prefetch(AHEAD).with_options(threading()))


def sample_index_and_seed(
    position: Tensor, count: int, epoch_seed: Tensor, repeats: int = 1
) -> tuple[Tensor, Tensor]:
    """Samples which image stands at a position of an epoch, and its seed.

    Args:
        position: Of the example in the epoch, int64.
        count: Images of the split.
        epoch_seed: int32 ``(2,)``.
        repeats: Copies of an image that stand side by side.

    Returns:
        The index of the image, and the seed of its augmentation.
    """
    fold = tf.random.experimental.stateless_fold_in
    index = tf.random.experimental.index_shuffle(
        position // repeats, epoch_seed, np.int64(count - 1)
    )
    seed = fold(epoch_seed, tf.cast(index, tf.int32))
    if repeats > 1:
        seed = fold(seed, tf.cast(position % repeats, tf.int32))
    return index, seed


def copies(examples: int, shares: int) -> int:
    """Returns how many shares hold each example of a training batch.

    Args:
        examples: Left in the epoch, those of this batch included.
        shares: The parts of every batch.
    """
    return shares if examples < shares else 1


def _batches(
    indices: range, example: Any, batch_size: int, share: Share = WHOLE
) -> tf.data.Dataset:
    part, parts = share
    size = max(batch_size // parts, 1)
    batches = (
        tf.data.Dataset.range(indices.start + part, indices.stop, parts)
        .map(example, num_parallel_calls=cpu_count(), deterministic=True)
        .batch(size)
    )
    own, most = (-(-len(indices[first::parts]) // size) for first in (part, 0))
    if own < most:  # the replicas take every step together
        shapes = tf.nest.map_structure(
            lambda x: tf.zeros((0, *x.shape[1:]), x.dtype), batches.element_spec
        )
        batches = batches.concatenate(tf.data.Dataset.from_tensors(shapes))
    return batches


def _mixed(
    batches: tf.data.Dataset, mixing: Mixing, epoch_seed: Tensor, first_step: int
) -> tf.data.Dataset:
    """Mixes the images of each batch with each other."""
    fold = tf.random.experimental.stateless_fold_in

    def mix(step: Tensor, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        # Minus one sets it apart from the seeds of the images, folded by their index.
        return mixing(*batch, seed=fold(fold(epoch_seed, -1), step))

    return batches.enumerate(first_step).map(
        mix, num_parallel_calls=cpu_count(), deterministic=True
    )


def cpu_count() -> int:
    """Returns how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0))


def threading() -> tf.data.Options:
    """Returns options for one thread per core, each working on a different image.

    On two idle cores this is 1.4 to 1.7 times as fast as TensorFlow's defaults. Its
    autotuning is off: an iterator that uses it sometimes waits at the end of an epoch
    for the tuner's next look, for as long as the epoch took.
    """
    options = tf.data.Options()
    options.threading.private_threadpool_size = cpu_count()
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    return options
