"""Loads TensorFlow Datasets that are prepared on disk or can be downloaded.

They may be prepared as TFRecord or ArrayRecord; both are read whole, shard by shard.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_resnet.errors import UsageError
from training.data.decoding.graph import decode
from training.data.decoding.images import FILE_CHANNELS
from training.data.decoding.pillow import KINDS
from training.data.reading import ReadOptions
from training.data.sources import cache, extracted
from training.data.sources.files import inspect_headers
from training.data.sources.inspection import image_info
from training.data.sources.names import find_splits, require_classes
from training.data.types import Dataset, Split, may_be_mirrored, pixels, strings
from training.storage import filesystem

PIXELS_BELOW_BYTES = 2**30  # images of one size are decoded once up to this total


def load(argument: str, reading: ReadOptions | None = None) -> Dataset:
    """Loads ``tfds:NAME`` (a name with an optional config and version) into memory.

    ``NAME`` may also be the folder of a prepared version, or its URL. Images stay
    encoded unless they have one size and take at most one gibibyte decoded. With
    ``--cache disk``, they are written to files once and read from these.

    Raises:
        UsageError: The data set is unknown, not available, too large for the memory,
            has a bad image or is not for classification.
    """
    reading = reading or ReadOptions()
    builder = _builder(argument)
    image, label = keys = _features(builder, argument)
    labels = tuple(builder.info.features[label].names)
    require_classes(labels, f"tfds:{argument}")
    on_disk = reading.cache == "disk"
    if not on_disk:
        _require_memory(builder, argument)
    splits, notes = _splits(builder, keys, reading)
    if "train" not in splits:
        raise UsageError(
            f"tfds:{argument} must have a labelled train split, got "
            f"{', '.join(builder.info.splits) or 'none'}"
        )
    height, width, channels = shape = builder.info.features[image].shape
    if not on_disk and _fits_decoded(splits, shape):
        splits = {name: _decode(split, channels) for name, split in splits.items()}
    elif channels not in (None, *FILE_CHANNELS):
        raise UsageError(
            f"images of tfds:{argument} must have 1 or 3 channels, got {channels}; "
            "other numbers require images of one size, at most 1 GiB, and no "
            "--cache disk"
        )
    return Dataset(
        name="tfds",
        splits=splits,
        labels=labels,
        channels=channels or 3,
        size=(height, width) if height and width else None,
        mirrors=may_be_mirrored(builder.name),
        notes=tuple(notes),
    )


def _require_memory(builder: Any, argument: str) -> None:
    needed = sum(split.num_bytes for split in builder.info.splits.values())
    cache.require_memory(f"tfds:{argument}", needed, "use --cache disk")


def _fits_decoded(splits: dict[str, Split], shape: tuple[int | None, ...]) -> bool:
    """Returns whether images have one size and at most ``PIXELS_BELOW_BYTES``."""
    images = sum(len(split) for split in splits.values())
    size = images * math.prod(filter(None, shape))
    return None not in shape and size <= PIXELS_BELOW_BYTES


def _builder(argument: str) -> Any:
    import tensorflow_datasets as tfds

    if not argument:
        raise UsageError("tfds data set must be named, got 'tfds:'; try tfds:cifar10")
    try:
        if filesystem.is_remote(argument) or Path(argument).is_dir():
            return tfds.builder_from_directory(argument)
        builder = tfds.builder(argument)
        if not builder.data_path.exists():
            print(f"downloading and preparing tfds:{argument} …", flush=True)
        builder.download_and_prepare()
    except Exception as error:  # tfds and its downloader raise many kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise UsageError(
            f"tfds:{argument} must be downloadable or prepared on disk (TFDS_DATA_DIR, "
            f"default ~/tensorflow_datasets), got {type(error).__name__}: {reason}"
        ) from None
    return builder


def _features(builder: Any, argument: str) -> tuple[str, str]:
    """Returns the names of the image and the label feature."""
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
    kind = features[keys[0]].np_dtype
    if kind not in (np.uint8, np.uint16):
        # TFDS stores the bits of float32 as the four channels of a PNG.
        raise UsageError(
            f"images of tfds:{argument} must be uint8 or uint16, got "
            f"{np.dtype(kind).name}; prepare them as Image(dtype=np.uint8)"
        )
    return keys


def _splits(
    builder: Any, keys: extracted.Keys, reading: ReadOptions
) -> tuple[dict[str, Split], list[str]]:
    """Returns the labelled splits with valid images, and notes for the user."""
    on_disk = reading.cache == "disk"
    read = extracted.files if on_disk else extracted.contents
    varied = None in builder.info.features[keys[0]].shape[:2]
    classes = len(builder.info.features[keys[1]].names)
    splits: dict[str, Split] = {}
    notes = [f"images cached in {cache.folder()}"] if on_disk else []
    where = f"tfds:{builder.name}"
    for ours, theirs in find_splits(builder.info.splits, where).items():
        if not builder.info.splits[theirs].num_examples:
            raise UsageError(
                f"{theirs} split of {where} must hold images, got none; prepare it "
                "again with some or without the split"
            )
        try:
            images, labels, hashes = read(builder, theirs, keys)
        except (tf.errors.OpError, FileNotFoundError, RuntimeError) as error:
            # Errors of TFRecord and ArrayRecord for truncated or missing shards.
            raise UsageError(
                f"files of split {theirs} of {where} must be complete, got "
                f"{filesystem.reason(error)}; prepare it again"
            ) from None
        if min(labels) < 0:  # some public test splits are unlabelled
            continue
        if max(labels) >= classes:
            raise UsageError(
                f"labels of split {theirs} of {where} must be 0 to {classes - 1}, as "
                f"it has {classes} class names, got {max(labels)}"
            )
        split = strings(images, labels, hashes=hashes)
        # TFDS has already decoded images of one size, and in memory they cannot change.
        if varied or on_disk:
            split = _check_headers(split, f"{theirs} of {where}", reading)
        if skipped := len(labels) - len(split):
            notes.append(f"skipped {skipped} bad images of {len(labels)}")
        splits[ours] = split
    return splits, notes


def _check_headers(split: Split, name: str, reading: ReadOptions) -> Split:
    """Adds facts and removes bad images, based on the headers only."""
    stored = split.images.numpy().tolist()
    images = stored if split.kind == "bytes" else [path.decode() for path in stored]
    findings = inspect_headers(images, reading.max_pixels)
    good = [i for i, finding in enumerate(findings) if finding.bad is None]
    if len(good) < len(split) and not reading.skip_bad_images:
        number, first = next((i, f.bad) for i, f in enumerate(findings) if f.bad)
        raise UsageError(
            f"every image must be {KINDS}, got number {number} of {name}: {first} "
            f"({len(split) - len(good)} bad of {len(split)}); use --skip-bad-images"
        )
    if not good:
        raise UsageError(f"{name} must have valid images, got {len(split)} bad ones")
    known = image_info([findings[i] for i in good])
    return replace(split.take(np.array(good)), facts=known)


def _decode(split: Split, channels: int) -> Split:
    def decoded(data: tf.Tensor) -> tf.Tensor:
        if channels in FILE_CHANNELS:
            return decode(data, channels)
        return tf.io.decode_image(data, channels, expand_animations=False)

    images = tf.map_fn(decoded, split.images, fn_output_signature=tf.uint8)
    return replace(pixels(images.numpy(), split.labels), hashes=split.hashes)
