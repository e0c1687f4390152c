"""Loads image folders, one folder per class, optionally in train/, val/ and test/."""

import os
from dataclasses import replace

from keras_resnet.errors import UsageError, first_few, is_text
from training.data.decoding.pillow import KINDS
from training.data.reading import ReadOptions
from training.data.sources import tree
from training.data.sources.files import CheckedFile, check
from training.data.sources.inspection import image_info
from training.data.sources.names import find_splits, require_classes, standard_split
from training.data.types import NO_HASH, Dataset, Split, may_be_mirrored, strings

Files = list[tuple[str, int]]  # places and class numbers
LEFT_OUT = ""  # in the place of a bad file, whose name may be no text


def load(argument: str, reading: ReadOptions | None = None) -> Dataset:
    """Loads ``DIR/CLASS/*`` or ``DIR/{train,val,test}/CLASS/*``; files stay on disk.

    Splits may have other names (``names.SPLITS``).

    Every file is decoded once, to find bad files before training. The findings are
    cached until the file changes.

    Raises:
        UsageError: The folder, a split or a class is empty, or a file is not an image.
    """
    reading = reading or ReadOptions()
    root = tree.root(argument, "image folder")
    roots = _roots(root)
    labels = _labels(roots["train"])
    files = {name: _files(place, labels) for name, place in roots.items()}
    _require_images(files, roots, labels)
    listed = [place for split in files.values() for place, _ in split]
    checked, notes = check(listed, reading, root)
    known = dict(zip(listed, checked, strict=True))
    bad = {p: c.finding.bad for p, c in known.items() if c.finding.bad is not None}
    if bad:
        _require_skipped(bad, len(listed), reading)
        notes.append(f"skipped {len(bad)} bad files of {len(listed)}")
    good = {
        name: [(place, number) for place, number in split if place not in bad]
        for name, split in files.items()
    }
    _require_images(good, roots, labels)
    if reading.stand_ins:
        known[LEFT_OUT] = _stand_in(known[good["train"][0][0]])
        good = {name: _filled(split, bad) for name, split in files.items()}
    if roots == {"train": root} and (odd := [x for x in labels if standard_split(x)]):
        notes.append(f"read as classes, not splits: {first_few(odd)}")
    return Dataset(
        name="folder",
        splits={name: _split(split, known) for name, split in good.items()},
        labels=labels,
        channels=3,
        size=None,
        mirrors=may_be_mirrored(os.path.basename(os.path.abspath(root))),
        notes=tuple(notes),
    )


def _roots(root: str) -> dict[str, str]:
    """Returns the folders of the splits; without splits, the root as ``"train"``.

    If other classes exist, a folder with the name of a split is also a class (*train*
    next to *bus*), unless it contains folders.
    """
    folders = tree.folders(root)
    others = [name for name in folders if not standard_split(name)]
    if others:
        named = (name for name in folders if standard_split(name))
        split = next((name for name in named if tree.folders(folders[name])), None)
        if split is None:
            return {"train": root}
        raise UsageError(
            f"{root} must contain either splits or classes, got the split {split!r} "
            f"and {others[0]!r}; move all classes into one folder train, or move "
            "folders that are not splits elsewhere"
        )
    splits = find_splits(folders, root)
    if splits and "train" not in splits:
        raise UsageError(
            f"{root} must contain a train split, got only "
            f"{first_few([*splits.values()])}"
        )
    return {split: folders[name] for split, name in splits.items()} or {"train": root}


def _labels(root: str) -> tuple[str, ...]:
    """Returns the class names, which are the folder names of the training split."""
    labels = tuple(tree.folders(root))
    if len(labels) < 2:
        raise UsageError(
            f"{root} must contain at least 2 class folders, got {len(labels)}"
        )
    if unread := [label for label in labels if not is_text(label)]:
        raise UsageError(f"class names must be UTF-8, got {unread[0]!r}")
    require_classes(labels, root)
    return labels


def _files(root: str, labels: tuple[str, ...]) -> Files:
    """Returns the files of a split with their class numbers, sorted by name."""
    numbers = {label: number for number, label in enumerate(labels)}
    found = []
    for name, folder in tree.folders(root).items():
        if name not in numbers:
            raise UsageError(
                f"{root} must contain only classes of the training split, got {name!r}"
            )
        found += [(place, numbers[name]) for place in tree.files(folder)]
    return found


def _require_images(
    splits: dict[str, Files], roots: dict[str, str], labels: tuple[str, ...]
) -> None:
    """Raises UsageError unless all splits and all training classes have images."""
    for name, files in splits.items():
        if not files:
            raise UsageError(
                f"{name} split must contain valid images, in one folder per class, got "
                f"none in {roots[name]}; add some or remove the folder"
            )
    trained = {number for _, number in splits["train"]}
    if absent := [label for i, label in enumerate(labels) if i not in trained]:
        raise UsageError(
            "every class must have valid training images, got none in "
            f"{roots['train']}/{absent[0]}"
        )


def _require_skipped(bad: dict[str, str], count: int, reading: ReadOptions) -> None:
    if not reading.skip_bad_images:
        place, reason = next(iter(bad.items()))
        raise UsageError(
            f"every file must be {KINDS}, got {place}: {reason} ({len(bad)} bad of "
            f"{count}); remove it or use --skip-bad-images"
        )


def _filled(files: Files, bad: dict[str, str]) -> Files:
    return [(LEFT_OUT if place in bad else place, number) for place, number in files]


def _stand_in(checked: CheckedFile) -> CheckedFile:
    return checked._replace(finding=replace(checked.finding, sha256=NO_HASH))


def _split(files: Files, known: dict[str, CheckedFile]) -> Split:
    checked = [known[place] for place, _ in files]
    origins, numbers = zip(*files, strict=True)
    images = [c.stored for c in checked if not isinstance(c.stored, OSError)]
    findings = [c.finding for c in checked]
    hashes = [finding.sha256 for finding in findings]
    return strings(images, numbers, image_info(findings), origins, hashes)
