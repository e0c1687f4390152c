"""TensorFlow Datasets: prepared on disk, or downloaded where there is a network."""

from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tensorflow as tf

from keras_resnet.errors import UsageError
from training.datasets import Dataset, Split, mirrors, pixels, strings

SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "test"}
MEMORY_SHARE = 0.5  # of what is free, for the encoded images
PIXELS_BELOW_BYTES = 2**30  # images of one size are decoded once up to this


def load(argument: str) -> Dataset:
    """Loads ``tfds:NAME`` (a name with an optional config and version) into memory.

    ``NAME`` may also be the folder of a prepared version. Images stay encoded unless
    they have one size and fit into a gibibyte decoded.

    Raises:
        UsageError: The data set is unknown, cannot be had, is too large for the
            memory, or is not for classification.
    """
    builder = _builder(argument)
    image, label = _features(builder, argument)
    needed = sum(split.num_bytes for split in builder.info.splits.values())
    free = psutil.virtual_memory().available
    if needed > MEMORY_SHARE * free:
        raise UsageError(
            f"tfds:{argument} must fit in half of the free memory, got "
            f"{needed / 2**30:.1f} GiB with {free / 2**30:.1f} GiB free; write its "
            "images to class folders and use folder:DIR"
        )
    feature = builder.info.features[image]
    height, width, channels = feature.shape
    splits = {
        ours: _read(builder, theirs, image, label)
        for theirs, ours in SPLITS.items()
        if theirs in builder.info.splits
    }
    # Some public test splits are unlabelled (-1).
    splits = {n: s for n, s in splits.items() if int(tf.reduce_min(s.labels)) >= 0}
    if "train" not in splits:
        raise UsageError(
            f"tfds:{argument} must have a labelled train split, got "
            f"{', '.join(builder.info.splits) or 'none'}"
        )
    size = (height, width) if height and width else None
    decoded = (
        sum(len(s) for s in splits.values()) * int(np.prod(feature.shape or 0))
        if size
        else None
    )
    if decoded is not None and decoded <= PIXELS_BELOW_BYTES:
        splits = {name: _decode(split, channels) for name, split in splits.items()}
    return Dataset(
        name="tfds",
        splits=splits,
        labels=tuple(builder.info.features[label].names),
        channels=channels or 3,
        size=size,
        mirrors=mirrors(builder.name),
    )


def _builder(argument: str) -> Any:
    import tensorflow_datasets as tfds

    if not argument:
        raise UsageError("tfds data set must be named, say tfds:cifar10, got 'tfds:'")
    try:
        if Path(argument).is_dir():
            return tfds.builder_from_directory(argument)
        builder = tfds.builder(argument)
        if not builder.data_path.exists():
            print(f"downloading and preparing tfds:{argument} …", flush=True)
        builder.download_and_prepare()
    except Exception as error:  # tfds and its downloader raise many kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise UsageError(
            f"tfds:{argument} must be prepared on disk (in TFDS_DATA_DIR, default "
            f"~/tensorflow_datasets) or downloadable: {type(error).__name__}: {reason}"
        ) from None
    return builder


def _features(builder: Any, argument: str) -> tuple[str, str]:
    """The names of the image and of the label feature."""
    import tensorflow_datasets as tfds

    keys = builder.info.supervised_keys or ("image", "label")
    features = builder.info.features
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    if len(keys) != 2 or not all(
        key in features and isinstance(features[key], kind)
        for key, kind in zip(keys, kinds, strict=False)
    ):
        raise UsageError(
            f"tfds:{argument} must have an image and a class label, got features "
            f"{', '.join(features)}"
        )
    return keys


def _read(builder: Any, split: str, image: str, label: str) -> Split:
    import tensorflow_datasets as tfds

    examples = builder.as_dataset(
        split=split,
        decoders={image: tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(try_autocache=False),
        shuffle_files=False,
    )
    images, labels = [], []
    for example in examples.as_numpy_iterator():
        images.append(example[image])
        labels.append(example[label])
    return strings("bytes", images, labels)


def _decode(split: Split, channels: int) -> Split:
    decoded = tf.map_fn(
        lambda data: tf.io.decode_image(data, channels, expand_animations=False),
        split.images,
        fn_output_signature=tf.uint8,
    )
    return pixels(decoded.numpy(), split.labels)
