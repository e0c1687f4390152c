"""Findings kept between commands: they save reading, and are never of other files."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from data import encode, noise, sizes, write_image
from test_cache import home, loaded, photos, trained_on  # noqa: F401 - fixtures

from keras_resnet.errors import UsageError
from training.data.reading import ReadOptions
from training.data.sources import inspection_cache as findings
from training.data.sources import load_dataset
from training.data.types import Dataset
from training.storage import filesystem


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:  # noqa: F811
    """The findings' folder; every file counts as written long ago."""
    monkeypatch.setattr(filesystem, "SETTLED_NS", 0)
    return home / "findings"


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The places that are read from now on."""
    seen, read = [], filesystem.read

    def spy(place: str) -> bytes:
        seen.append(place)
        return read(place)

    monkeypatch.setattr(filesystem, "read", spy)
    return seen


def anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The data set as it is loaded where nothing is known of it."""
    with monkeypatch.context() as patch:
        patch.setenv("KERAS_RESNET_CACHE", str(folder.parent / "nothing known"))
        return loaded(folder, "none")


@pytest.mark.slow
def test_known_files_are_not_read(
    photos: Path,  # noqa: F811
    settled: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = loaded(photos, "none")
    seen = reads(monkeypatch)
    again = loaded(photos, "none")
    assert seen == []
    assert again.digest == first.digest
    assert trained_on(again) == trained_on(first)
    changed = photos / "a" / "1.png"
    write_image(changed, noise(20, 20, 3))
    assert loaded(photos, "none").digest != first.digest
    assert seen == [str(changed)]


def swap(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def rewrite(path: Path, data: bytes) -> None:
    """Writes other contents of the same size, with the same time."""
    before = path.stat()
    path.write_bytes(data)
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(photos: Path) -> None:  # noqa: F811
    new = photos.parent / "new"
    rewrite(shutil.copy2(photos / "b" / "0.bmp", new), encode(noise(7, 7, 3), "BMP"))
    new.rename(photos / "b" / "0.bmp")


CHANGES: dict[str, Callable[[Path], None]] = {
    "classes exchanged": lambda root: swap(root / "a", root / "b"),
    "rewritten, same time": lambda root: rewrite(
        root / "b" / "0.bmp", encode(noise(7, 7, 3), "BMP")
    ),
    "replaced, same time": replaced,
    "files exchanged": lambda root: swap(root / "b" / "0.bmp", root / "b" / "1.bmp"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_files_that_change_without_a_trace_are_noticed(
    change: str,
    photos: Path,  # noqa: F811
    settled: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for i in range(2):
        write_image(photos / "b" / f"{i}.bmp", noise(7, 7, 3, seed=8 + i))
        os.utime(photos / "b" / f"{i}.bmp", ns=(10**18, 10**18))
    before = loaded(photos, "none").digest
    CHANGES[change](photos)
    after = loaded(photos, "none").digest
    assert after == anew(photos, monkeypatch).digest != before


def test_a_file_written_just_now_is_read_again(
    photos: Path,  # noqa: F811
    home: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may change within the same tick of the file system's clock."""
    loaded(photos, "none")
    seen = reads(monkeypatch)
    loaded(photos, "none")
    assert len(seen) == 13


def test_a_file_that_failed_once_is_tried_again(
    photos: Path,  # noqa: F811
    settled: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (photos / "b" / "bad.jpg").write_bytes(b"no image")
    with monkeypatch.context() as patch:
        patch.setattr(
            filesystem, "read", lambda place: (_ for _ in ()).throw(OSError())
        )
        with pytest.raises(UsageError, match="14 bad of 14"):
            loaded(photos, "none")
    assert sum(sizes(loaded(photos, "none", skip=True)).values()) == 13
    with pytest.raises(UsageError, match="1 bad of 14"):
        loaded(photos, "none")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:],
        lambda data: data[:-3] + b"\0\0\0",
        lambda data: b"",
        lambda data: b"{}",
    ],
)
def test_damaged_findings_are_not_used(
    damage: Callable[[bytes], bytes],
    photos: Path,  # noqa: F811
    settled: Path,
) -> None:
    digest = loaded(photos, "none").digest
    (file,) = settled.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert loaded(photos, "none").digest == digest
    assert file.read_bytes() == whole


def test_findings_that_cannot_be_written_are_a_note(
    photos: Path,  # noqa: F811
    settled: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KERAS_RESNET_CACHE", str(photos / "a" / "0.png"))
    (note, *_) = loaded(photos, "none").notes
    assert note.startswith("files will be checked again: ")


def test_a_user_without_a_home_folder_needs_no_cache(
    photos: Path,  # noqa: F811
    settled: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("KERAS_RESNET_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "pwd", None)  # as where a container's user is none
    (note, *_) = loaded(photos, "none").notes
    assert note.startswith("files will be checked again: cache must have a folder")


def test_findings_are_of_one_limit_and_one_inspector(
    photos: Path,  # noqa: F811
    settled: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded(photos, "none")
    with pytest.raises(UsageError, match=r"more than the 1 pixels .* \(13 bad of 13\)"):
        load_dataset(f"folder:{photos}", reading=ReadOptions(max_pixels=1))
    monkeypatch.setattr(findings, "_inspection_version", lambda: "a newer one")
    seen = reads(monkeypatch)
    loaded(photos, "none")
    assert len(seen) == 13
