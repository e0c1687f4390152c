"""A version is complete before it is visible, and replaced or removed as a whole."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from export.formats import versions
from export.load import newest_version
from keras_resnet.errors import UsageError
from training.storage import system


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def complete(out: Path, content: str) -> Callable[[Callable[..., Path]], Path]:
    def publish(how: Callable[..., Path]) -> Path:
        with versions.draft(out) as draft:
            (draft / "deep").mkdir()
            (draft / "deep" / "file").write_text(content)
            return how(draft, out)

    return publish


def test_versions_are_counted_replaced_and_pruned(tmp_path: Path) -> None:
    out = tmp_path / "versions"
    assert complete(out, "first")(versions.replace).name == "1"
    paths = [complete(out, text)(versions.publish) for text in "abc"]
    assert names(out) == ["1", "2", "3", "4"]
    replaced = complete(out, "new")(versions.replace)
    assert replaced == paths[-1]
    assert (replaced / "deep" / "file").read_text() == "new"
    assert versions.prune(out, 0, replaced) == []
    assert versions.prune(out, 2, replaced) == [out / "1", out / "2"]
    assert names(out) == ["3", "4"]
    # A version that another export has overtaken is still not removed by its own.
    assert versions.prune(out, 1, out / "3") == []


def test_a_version_has_the_permissions_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        version = complete(tmp_path / "versions", "a")(versions.publish)
    finally:
        os.umask(before)
    assert version.stat().st_mode & 0o777 == 0o750
    assert (version / "deep" / "file").stat().st_mode & 0o777 == 0o640


def test_a_number_may_begin_with_zeros(tmp_path: Path) -> None:
    for name in ("007", "6", "٣", "8 old"):
        (tmp_path / name).mkdir()
    assert list(versions.versions(tmp_path)) == [6, 7]
    (tmp_path / "99").write_text("no folder")
    assert newest_version(tmp_path) == tmp_path / "007"
    (tmp_path / "99").unlink()
    replaced = complete(tmp_path, "new")(versions.replace)
    assert replaced == tmp_path / "007"
    published = complete(tmp_path, "next")(versions.publish)
    assert published == tmp_path / "8"
    assert versions.prune(tmp_path, 1, published) == [tmp_path / "6", replaced]


def test_what_a_failed_or_killed_export_left_is_removed(tmp_path: Path) -> None:
    with pytest.raises(KeyError), versions.draft(tmp_path):
        raise KeyError
    assert names(tmp_path) == []
    host = versions.socket.gethostname()
    dead = subprocess.Popen(["true"])
    dead.wait()
    for name in (f"{host},{os.getpid()}", f"{host},{dead.pid}", "elsewhere,1"):
        (tmp_path / f".draft,{name},x").mkdir()
    (tmp_path / ".draft,before,1,x").mkdir()
    os.utime(tmp_path / ".draft,before,1,x", (0, 0))
    with versions.draft(tmp_path):
        pass
    assert names(tmp_path) == [".draft,elsewhere,1,x", f".draft,{host},{os.getpid()},x"]


def test_a_number_taken_by_another_export_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete(tmp_path, "theirs")(versions.publish)
    seen = iter([[], [1]])
    monkeypatch.setattr(versions, "versions", lambda folder: next(seen))
    assert complete(tmp_path, "ours")(versions.publish).name == "2"
    assert (tmp_path / "1" / "deep" / "file").read_text() == "theirs"


def test_where_folders_cannot_be_swapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete(tmp_path, "theirs")(versions.publish)
    monkeypatch.setattr(system.ctypes, "CDLL", lambda *a, **k: object())
    with pytest.raises(
        UsageError, match="support swapping folders for --overwrite, got no"
    ):
        complete(tmp_path, "ours")(versions.replace)
    monkeypatch.undo()
    swap = system.swap
    monkeypatch.setattr(system, "swap", lambda a, b: swap(a, b / "gone"))
    with pytest.raises(UsageError, match="got No such file or directory"):
        complete(tmp_path, "ours")(versions.replace)
    assert (tmp_path / "1" / "deep" / "file").read_text() == "theirs"


def test_other_errors_of_publishing_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        versions.publish(tmp_path / "nothing", tmp_path)


def test_a_version_and_its_folder_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contents before the name, and the folder of names after it."""
    calls: list[str] = []
    fsync, rename, swap = os.fsync, os.rename, system.swap

    def noted(name: str, call: Callable[..., None]) -> Callable[..., None]:
        def calling(*arguments: object) -> None:
            calls.append(name)
            call(*arguments)

        return calling

    def note_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        calls.append("draft" if path.name.startswith(".draft") else path.name)
        fsync(descriptor)

    out = tmp_path / "versions"
    out.mkdir()
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", noted("rename", rename))
    monkeypatch.setattr(system, "swap", noted("swap", swap))
    for how, named in ((versions.publish, "rename"), (versions.replace, "swap")):
        calls.clear()
        complete(out, "a")(how)
        assert sorted(calls[:3]) == ["deep", "draft", "file"]
        assert calls[3:] == [named, "versions"]
