"""Folders of image files, one folder a class, optionally under train/, val/, test/."""

import os
from collections.abc import Sequence

from keras_resnet.errors import UsageError
from training.data import places
from training.data.datasets import Dataset, Split, mirrors, strings
from training.data.sources import cache, tree
from training.data.sources.inspection import (
    FORMATS,
    Finding,
    Kept,
    facts,
    inspect_all,
)
from training.data.sources.reading import Reading

SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "test"}
Files = list[tuple[str, int]]  # places and class numbers


def load(argument: str, reading: Reading | None = None) -> Dataset:
    """Loads ``DIR/CLASS/*`` or ``DIR/{train,val,test}/CLASS/*``; files stay on disk.

    Every file is decoded once, so that a bad one is found before training begins.

    Args:
        argument: A path or a URL.
        reading: How files are read; None: with the defaults.

    Raises:
        UsageError: The folder or a class is empty, or a file is no image.
    """
    reading = reading or Reading()
    root = tree.root(argument, "image folder")
    roots = _roots(root)
    labels = tuple(tree.folders(roots["train"]))
    if len(labels) < 2:
        raise UsageError(
            f"{roots['train']} must hold one folder a class, at least 2, got "
            f"{len(labels)}"
        )
    if unread := [label for label in labels if not places.is_text(label)]:
        raise UsageError(f"names of classes must be UTF-8, got {unread[0]!r}")
    files = {name: _files(place, labels) for name, place in roots.items()}
    listed = [place for split in files.values() for place, _ in split]
    stored, note = cache.kept(listed, reading.cache)
    findings = _inspected(listed, stored, reading)
    known = dict(zip(listed, zip(stored, findings, strict=True), strict=True))
    notes = [note] if note else []
    if count := sum(finding.bad is not None for finding in findings):
        notes.append(f"skipped {count} bad files of {len(listed)}")
    return Dataset(
        name="folder",
        splits={name: _split(split, known, labels) for name, split in files.items()},
        labels=labels,
        channels=3,
        size=None,
        mirrors=mirrors(os.path.basename(os.path.abspath(root))),
        notes=tuple(notes),
    )


def _roots(root: str) -> dict[str, str]:
    """The folders of the splits; the root itself where it holds the classes."""
    folders = tree.folders(root)
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


def _files(root: str, labels: tuple[str, ...]) -> Files:
    """The files of a split with their class numbers, in the order of their names."""
    found = []
    for name, folder in tree.folders(root).items():
        if name not in labels:
            raise UsageError(
                f"{root} must hold classes of the training split only, got {name!r}"
            )
        files = tree.files(folder)
        if not files:
            raise UsageError(f"class folder must hold images, got none in {folder}")
        found += [(place, labels.index(name)) for place in files]
    return found


def _inspected(
    files: Sequence[str], stored: Sequence[Kept], reading: Reading
) -> list[Finding]:
    findings = inspect_all(stored, reading.max_pixels)
    bad = {
        place: finding.bad
        for place, finding in zip(files, findings, strict=True)
        if finding.bad is not None
    }
    if bad and not reading.skip_bad_images:
        place, reason = next(iter(bad.items()))
        raise UsageError(
            f"every file must be an image TensorFlow reads ({', '.join(FORMATS)}), got "
            f"{place}: {reason} ({len(bad)} bad of {len(files)}); remove it or use "
            "--skip-bad-images"
        )
    return findings


def _split(
    files: Files, known: dict[str, tuple[Kept, Finding]], labels: tuple[str, ...]
) -> Split:
    good = [
        (image, found, label, place)
        for place, label in files
        for image, found in [known[place]]
        if found.bad is None and not isinstance(image, OSError)
    ]
    missing = set(range(len(labels))) - {label for _, _, label, _ in good}
    if missing:
        raise UsageError(
            f"every class must have a good image, got none in {labels[min(missing)]!r}"
        )
    images, findings, numbers, origins = zip(*good, strict=True)
    return strings(images, numbers, facts(findings), origins)
