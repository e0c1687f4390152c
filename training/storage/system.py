"""Calls that not every operating system has, each with what takes its place elsewhere.

Tested on Linux; the replacements are tested there too, with the calls taken away.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

CPUINFO = Path("/proc/cpuinfo")
PR_SET_PDEATHSIG = 1  # linux/prctl.h
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
LOCKED_BYTE = 2**30  # far behind the contents, which others then can still read


def cpu_count() -> int:
    """Returns how many CPU cores this process may use, or else how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_info() -> str:
    """Returns the text of Linux's ``/proc/cpuinfo``, an empty one elsewhere."""
    return CPUINFO.read_text(encoding="utf-8") if CPUINFO.is_file() else ""


def peak_memory() -> int:
    """Returns the most memory that this process has used so far, in bytes."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(getattr(psutil.Process().memory_info(), "peak_wset", 0))
    unit = 1 if sys.platform == "darwin" else 2**10  # getrusage(2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def try_lock(file: IO[str]) -> bool:
    """Locks an open file for this process; returns False if another one holds it.

    The system releases the lock when the file is closed or the process ends.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return _try_lock_byte(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_lock_byte(file: IO[str]) -> bool:
    import msvcrt

    file.seek(LOCKED_BYTE)
    try:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        return False
    finally:
        file.seek(0)
    return True


def sync_files() -> None:
    """Has all files written to disk, if the system can; a power cut then loses none."""
    if hasattr(os, "sync"):
        os.sync()


def ending_with_parent() -> Callable[[], object] | None:
    """Returns what a new process calls first so that it ends when its parent is killed.

    None on systems other than Linux, where such a process goes on by itself.
    """
    if not sys.platform.startswith("linux"):
        return None
    return partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, signal.SIGKILL)


def swap(one: Path, other: Path) -> None:
    """Exchanges the names of two files or folders in one step.

    Raises:
        OSError: System or file system cannot do that; nothing has changed.
    """
    rename = None
    if sys.platform.startswith("linux"):
        rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError("no renameat2")
    names = os.fsencode(one), os.fsencode(other)
    if rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
