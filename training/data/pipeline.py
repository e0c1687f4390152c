"""Makes batches that depend only on the data set, the seed, the epoch and the position.

The order of an epoch is a stateless permutation of the indices, and every example has
its own seed. Therefore an epoch can start at any step, and any number of threads
produces the same batches.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

from training.data.augmentation.augmentation import Augmentation
from training.data.augmentation.mixing import Mixing
from training.data.batches import Batches
from training.data.examples import read_window
from training.data.preprocessing import Preprocessing
from training.data.types import WHOLE, Share, Split, Tensor
from training.storage.system import cpu_count

PREFETCH = 4  # batches to prepare during a training step
# All code here works on tensors as it is; converting it took a third of the start.
do_not_convert = tf.autograph.experimental.do_not_convert


@dataclass(frozen=True)
class TrainingData:
    """Training images and how they are augmented, shuffled and batched.

    Attributes:
        split: Images and labels.
        channels: Number of channels of the model's input.
        augmentation: Random changes to the images.
        batch_size: Number of examples in a batch.
        seed: Seed of the order and the augmentation.
    """

    split: Split
    channels: int
    augmentation: Augmentation
    batch_size: int
    seed: int = 0

    @property
    def steps(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(len(self.split) / self.batch_size)

    def sizes(self, first_step: int = 0) -> list[int]:
        """Returns the numbers of examples of an epoch's batches from ``first_step``."""
        starts = range(first_step * self.batch_size, len(self.split), self.batch_size)
        return [min(self.batch_size, len(self.split) - start) for start in starts]

    @cached_property
    def _load_example(self) -> Callable[..., tuple[Tensor, Tensor]]:
        """Loads the image and label at a position; it is traced once for all epochs."""

        def load(
            position: Tensor, epoch_seed: Tensor, size: tuple[int, int]
        ) -> tuple[Tensor, Tensor]:
            index, seed = sample_index_and_seed(
                position, len(self.split), epoch_seed, self.augmentation.repeats
            )
            window = self.augmentation.window(size, seed)
            shape = (*size, self.channels)
            image = read_window(self.split, index, shape, window, quickly=True)
            return self.augmentation(image, seed), self.split.labels[index]

        return tf.function(load, autograph=False)

    def batches(
        self,
        epoch: int,
        first_step: int = 0,
        share: Share = WHOLE,
        block_devices: int | None = None,
    ) -> Batches:
        """Returns one epoch's batches of augmented pixels and labels.

        An epoch has each example once. If the augmentation's ``repeats`` is N, it has a
        random one in N of the images, each N times in a row and augmented differently.

        Args:
            epoch: Number of the epoch, counted from 0.
            first_step: Number of batches to skip at the beginning.
            share: The part of every batch to read; the batch size must be a multiple of
                the number of parts.
            block_devices: None: part i of n has every n-th example of a batch, and the
                parts of the last batch may differ in size by one. Otherwise part i is
                the i-th of n equal blocks; a last batch that this number of devices, a
                multiple of n, cannot share evenly is in all parts as a whole.

        Returns:
            Batches ``(uint8 (B, H, W, C), int64 (B,))``. The last one may be smaller;
            if it has fewer examples than there are shares, every share has all of it
            (``replicas_per_example``). If the augmentation mixes images, targets
            ``float32 (B, classes)`` replace the labels; each share is mixed separately.
        """
        epoch_seed = tf.constant([self.seed, epoch])
        size = self.augmentation.size(epoch)

        def load_example(position: Tensor) -> tuple[Tensor, Tensor]:
            return self._load_example(position, epoch_seed, size)

        positions = range(first_step * self.batch_size, len(self.split))
        last_size = len(self.split) % self.batch_size
        _, parts = share
        blocks = block_devices is not None and parts > 1
        whole = last_size < parts
        if block_devices is not None:
            whole = last_size % block_devices > 0
        if positions and last_size and (whole or blocks):
            full, last = positions[:-last_size], positions[-last_size:]
            batches = _batches(full, load_example, self.batch_size, share, blocks)
            part = WHOLE if whole else share
            rest = _batches(last, load_example, last_size, part, blocks)
            batches = batches.concatenate(rest)
        else:
            batches = _batches(positions, load_example, self.batch_size, share, blocks)
        if self.augmentation.mixing:
            batches = _mixed(batches, self.augmentation.mixing, epoch_seed, first_step)
        return Batches(batches.prefetch(PREFETCH).with_options(threading_options()))


def evaluation_batches(
    split: Split, preprocessing: Preprocessing, batch_size: int, share: Share = WHOLE
) -> Batches:
    """Returns batches of a split's pixels and labels, in order, each example once.

    Every share has the same number of batches; the last batch may be empty.

    Args:
        split: Images and labels.
        preprocessing: Size and crop of the images.
        batch_size: Number of examples in a batch, over all shares.
        share: The part of every batch to read.

    Returns:
        Batches ``(uint8 (B, H, W, C), int64 (B,))``.
    """
    window = preprocessing.window if preprocessing.crop < 1 else None

    def load_example(index: Tensor) -> tuple[Tensor, Tensor]:
        image = read_window(split, index, preprocessing.input_shape, window)
        return image, split.labels[index]

    batches = _batches(range(len(split)), load_example, batch_size, share)
    return Batches(batches.prefetch(PREFETCH).with_options(threading_options()))


def sample_index_and_seed(
    position: Tensor, count: int, epoch_seed: Tensor, repeats: int = 1
) -> tuple[Tensor, Tensor]:
    """Returns the index and the seed of the image at a position of an epoch.

    Args:
        position: Position of the example in the epoch, int64.
        count: Number of images in the split.
        epoch_seed: Seed of the epoch, int32 ``(2,)``.
        repeats: Number of consecutive copies of each image.

    Returns:
        The index of the image, an int64 scalar, and the seed of its augmentation, int32
        ``(2,)``.
    """
    fold = tf.random.experimental.stateless_fold_in
    index = tf.random.experimental.index_shuffle(
        position // repeats, epoch_seed, np.int64(count - 1)
    )
    seed = fold(epoch_seed, tf.cast(index, tf.int32))
    if repeats > 1:
        seed = fold(seed, tf.cast(position % repeats, tf.int32))
    return index, seed


def replicas_per_example(examples: int, shares: int) -> int:
    """Returns how many shares hold each example of a training batch.

    Args:
        examples: Number of examples in the batch.
        shares: Number of parts of every batch.
    """
    return shares if examples < shares else 1


def _batches(
    indices: range,
    load_example: Callable[[Tensor], tuple[Tensor, Tensor]],
    batch_size: int,
    share: Share = WHOLE,
    blocks: bool = False,
) -> tf.data.Dataset:
    """Loads the batches of one share, in parallel and in order.

    A share has every n-th example, or a block of each batch. All shares have the same
    number of batches: one without examples for the last batch gets an empty one.
    """
    part, parts = share
    size = max(batch_size // parts, 1)
    positions = tf.data.Dataset.range(indices.start + part, indices.stop, parts)
    if blocks:
        starts = indices[part * size :: batch_size]
        positions = tf.data.Dataset.range(starts.start, starts.stop, batch_size)
        positions = positions.flat_map(
            do_not_convert(lambda first: tf.data.Dataset.range(first, first + size))
        )
    batches = positions.map(
        do_not_convert(load_example), num_parallel_calls=cpu_count(), deterministic=True
    ).batch(size)
    own = math.ceil(len(indices[part::parts]) / size)
    most = math.ceil(len(indices[::parts]) / size)  # of the first share
    if own < most:
        empty = tf.nest.map_structure(
            lambda x: tf.zeros((0, *x.shape[1:]), x.dtype), batches.element_spec
        )
        batches = batches.concatenate(tf.data.Dataset.from_tensors(empty))
    return batches


def _mixed(
    batches: tf.data.Dataset, mixing: Mixing, epoch_seed: Tensor, first_step: int
) -> tf.data.Dataset:
    """Mixes the images within each batch."""
    fold = tf.random.experimental.stateless_fold_in

    def mix(step: Tensor, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        # −1 differs from all indices, which are folded into the seeds of the images.
        return mixing(*batch, seed=fold(fold(epoch_seed, -1), step))

    return batches.enumerate(first_step).map(
        do_not_convert(mix), num_parallel_calls=cpu_count(), deterministic=True
    )


def threading_options() -> tf.data.Options:
    """Returns options for one thread per core, each working on a different image.

    On two idle cores this is 1.4 to 1.7 times as fast as TensorFlow's defaults.
    Autotuning is off because its iterators sometimes wait for the tuner at the end of
    an epoch, for as long as the epoch took.
    """
    options = tf.data.Options()
    options.threading.private_threadpool_size = cpu_count()
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    return options
