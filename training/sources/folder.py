"""Folders of image files, one folder a class, optionally under train/, val/, test/."""

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tensorflow as tf
from PIL import Image
from tqdm import tqdm

from keras_resnet.errors import UsageError
from training.datasets import Dataset, Split, mirrors, strings

SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "test"}
# What TensorFlow decodes. MPO is a JPEG with more images behind it, as phones write.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "WEBP")


def load(argument: str, *, skip_bad_images: bool = False) -> Dataset:
    """Loads ``DIR/CLASS/*`` or ``DIR/{train,val,test}/CLASS/*``; files stay on disk.

    Every file is decoded once, so that a bad one is found before training begins.

    Raises:
        UsageError: The folder or a class is empty, or a file is no image.
    """
    root = Path(argument)
    if not root.is_dir():
        raise UsageError(f"image folder must exist, got {argument!r}")
    roots = _roots(root)
    labels = tuple(path.name for path in _folders(roots["train"]))
    if len(labels) < 2:
        raise UsageError(
            f"{roots['train']} must hold one folder a class, at least 2, got "
            f"{len(labels)}"
        )
    files = {name: _files(path, labels) for name, path in roots.items()}
    paths = [path for split in files.values() for path, _ in split]
    bad = _check(paths)
    if bad and not skip_bad_images:
        path, reason = next(iter(bad.items()))
        raise UsageError(
            f"every file must be an image TensorFlow reads ({', '.join(FORMATS)}), got "
            f"{path}: {reason} ({len(bad)} bad of {len(paths)}); remove it or use "
            "--skip-bad-images"
        )
    return Dataset(
        name="folder",
        splits={name: _split(split, bad, labels) for name, split in files.items()},
        labels=labels,
        channels=3,
        size=None,
        mirrors=mirrors(root.resolve().name),
        notes=(f"skipped {len(bad)} bad files of {len(paths)}",) if bad else (),
    )


def _roots(root: Path) -> dict[str, Path]:
    """The folders of the splits; the root itself where it holds the classes."""
    folders = {path.name: path for path in _folders(root)}
    roots = {ours: folders[n] for n, ours in SPLITS.items() if n in folders}
    if not roots:
        return {"train": root}
    others = sorted(set(folders) - set(SPLITS))
    if "train" not in roots or others:
        raise UsageError(
            f"{root} must hold either classes or the splits train, val and test, got "
            f"{', '.join(folders)}"
        )
    return roots


def check_image(path: Path) -> str | None:
    """Decodes an image file as coarsely as its format allows; returns what is wrong."""
    try:
        with Image.open(path) as image:
            if image.format not in FORMATS:
                return f"a {image.format} file"
            if image.format in ("BMP", "WEBP"):
                return _check_rare(path, image)
            image.draft("L", (1, 1))  # a JPEG's eighth: all its data, little work
            image.load()
    except Image.DecompressionBombError:
        return "more pixels than any photograph has"
    except Exception as error:  # Pillow's plugins raise many kinds for damaged files
        return str(error).replace(f" {str(path)!r}", "") or type(error).__name__
    return None


def _check_rare(path: Path, image: Image.Image) -> str | None:
    """Decodes a file of a format of which TensorFlow reads less than Pillow does."""
    if image.format == "BMP" and image.mode not in ("RGB", "RGBA", "L"):
        return f"a BMP file of mode {image.mode}"
    # TensorFlow takes a palette's indices for grey levels.
    if image.format == "BMP" and image.palette is not None:
        return "a BMP file with a palette"
    try:
        tf.io.decode_image(path.read_bytes(), 3, expand_animations=False)
    except tf.errors.InvalidArgumentError as error:
        return str(error).split("! ")[-1].split(" [Op:")[0]
    return None


def _check(paths: list[Path]) -> dict[Path, str]:
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # Pillow's, of files that it reads all the same
        results = pool.map(check_image, paths)
        watched = tqdm(
            results, "checking images", len(paths), disable=None, leave=False
        )
        return {p: r for p, r in zip(paths, watched, strict=True) if r is not None}


def _split(
    files: list[tuple[Path, int]], bad: dict[Path, str], labels: tuple[str, ...]
) -> Split:
    good = [(str(path), label) for path, label in files if path not in bad]
    missing = set(range(len(labels))) - {label for _, label in good}
    if missing:
        raise UsageError(
            f"every class must have a good image, got none in {labels[min(missing)]!r}"
        )
    paths, numbers = zip(*good, strict=True)
    return strings("files", paths, numbers)


def _files(root: Path, labels: tuple[str, ...]) -> list[tuple[Path, int]]:
    """The files of a split with their class numbers, in the order of their names."""
    found = []
    for folder in _folders(root):
        if folder.name not in labels:
            raise UsageError(
                f"{root} must hold classes of the training split only, got "
                f"{folder.name!r}"
            )
        files = list(_visible(folder))
        if not files:
            raise UsageError(f"class folder must hold images, got none in {folder}")
        found += [(path, labels.index(folder.name)) for path in files]
    return found


def _folders(root: Path) -> list[Path]:
    return sorted(
        path for path in root.iterdir() if path.is_dir() and path.name[0] != "."
    )


def _visible(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, n) for n in sorted(names) if not n.startswith("."))
