"""What other systems than Linux lack, and what takes its place there."""

import os
import subprocess
import sys
import types
from pathlib import Path

import psutil
import pytest

from keras_resnet.errors import UsageError
from training.storage import lock, system


def test_this_process_is_described() -> None:
    assert 1 <= system.cpu_count() <= (os.cpu_count() or 1)
    used = psutil.Process().memory_info().rss
    assert system.peak_memory() >= 0.9 * used


def test_cores_are_counted_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert system.cpu_count() == os.cpu_count()


def test_cpu_is_unknown_without_proc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "CPUINFO", tmp_path / "none")
    assert system.cpu_info() == ""


def test_memory_is_reported_by_psutil_without_resource(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    process = types.SimpleNamespace(
        memory_info=lambda: types.SimpleNamespace(peak_wset=7)
    )
    monkeypatch.setattr(psutil, "Process", lambda: process)
    assert system.peak_memory() == 7


def test_a_byte_is_locked_without_fcntl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Windows' msvcrt does it: a locked byte is refused to any other handle."""
    taken: list[int] = []

    def locking(descriptor: int, mode: int, count: int) -> None:
        place = os.lseek(descriptor, 0, os.SEEK_CUR)
        assert (mode, count) == (2, 1)
        if place in taken:
            raise PermissionError(13, "Permission denied")
        taken.append(place)

    windows = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", windows)
    path = tmp_path / "lock"
    with lock.exclusive_lock(path, "a run must be trained", tmp_path):
        assert path.read_text("ascii") == f"{os.getpid()}\n"
        with (
            pytest.raises(UsageError, match=f"process {os.getpid()}"),
            lock.exclusive_lock(path, "a run must be trained", tmp_path),
        ):
            pytest.fail("locked twice")
    assert taken == [system.LOCKED_BYTE]


def test_processes_start_where_they_cannot_end_with_their_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from training.distributed.processes import start_process

    monkeypatch.setattr(sys, "platform", "darwin")
    assert system.ending_with_parent() is None
    assert start_process([sys.executable, "-c", ""]).wait() == 0


def test_names_are_swapped_or_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.write_text("x", "utf-8")
    system.swap(one, other)
    assert one.is_file() and other.is_dir()
    with pytest.raises(FileNotFoundError):
        system.swap(one, tmp_path / "absent")
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(OSError, match="no renameat2"):
        system.swap(one, other)
    assert one.is_file() and other.is_dir()


def test_files_are_left_to_the_system_without_sync(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sync")
    system.sync_files()


PACKAGES = ("keras_resnet", "training", "export")
LINUX_ONLY = 'sched_getaffinity|prctl|renameat2|fcntl|msvcrt|import resource|"/proc/'


def test_such_calls_stand_in_one_module() -> None:
    root = Path(__file__).parents[1]
    found = subprocess.run(
        ["grep", "-rlE", LINUX_ONLY, "--include=*.py", *PACKAGES],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.split() == ["training/storage/system.py"]
