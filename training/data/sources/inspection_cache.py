"""Caches findings about files between commands, until the files change."""

import hashlib
import os
import struct
from functools import cache as once
from pathlib import Path

import PIL
import tensorflow as tf

from keras_resnet.errors import UsageError
from training.data.decoding import pillow
from training.data.decoding.pillow import Header
from training.data.sources import inspection
from training.data.sources.cache import folder
from training.data.sources.inspection import InspectionResult
from training.storage import filesystem
from training.storage.filesystem import State
from training.storage.writing import write_atomically

# A finding: state key, SHA-256, fingerprint, kind, orientation, CMYK, size.
RECORD = struct.Struct("<32s32sq4sB?II")
CHECKSUM = 32  # bytes before the records


class InspectionCache:
    """A cache file of findings about valid files, in the cache folder.

    A finding is used until the file's ``filesystem.state``, the inspecting code or one
    of its libraries changes. Findings about bad files are not kept, because another
    inspection may succeed. A damaged or unwritable cache file only costs time; if
    several processes write at once, one of them wins.

    Args:
        name: The set of files, and everything else that the findings depend on.
    """

    def __init__(self, *name: object) -> None:
        key = hashlib.sha256(os.fsencode(repr((name, _inspection_version()))))
        self._name = key.hexdigest()
        self._before = _read(self._name)
        self._now: dict[bytes, InspectionResult] = {}

    def get(self, state: State) -> InspectionResult | None:
        """Returns the finding about a file in this state; None: unknown."""
        finding = None if state.key is None else self._before.get(state.key)
        if finding is not None:
            self.add(state, finding)
        return finding

    def add(self, state: State, finding: InspectionResult) -> None:
        """Adds a finding.

        Args:
            state: State of the file before it was read.
            finding: The finding; ``save`` keeps it if it is good and the state certain.
        """
        if state.key is not None and finding.bad is None:
            self._now[state.key] = finding

    def save(self) -> str | None:
        """Writes the findings added or used; returns a note if it cannot write."""
        if self._now.keys() == self._before.keys():
            return None
        records = b"".join(
            RECORD.pack(
                *(key, f.sha256, f.fingerprint, f.header.kind.encode()),
                *(f.header.orientation, f.header.cmyk, *f.header.size),
            )
            for key, f in sorted(self._now.items())
        )
        data = hashlib.sha256(records).digest() + records
        try:
            path = _path(self._name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, lambda draft: draft.write_bytes(data))
        except (OSError, UsageError) as error:
            return f"files will be checked again: {filesystem.reason(error)}"
        return None


def _path(name: str) -> Path:
    return folder() / "findings" / name


def _read(name: str) -> dict[bytes, InspectionResult]:
    try:
        data = _path(name).read_bytes()
    except (OSError, UsageError):  # UsageError: the user has no home folder
        return {}
    records = data[CHECKSUM:]
    whole = hashlib.sha256(records).digest() == data[:CHECKSUM]
    if not whole or len(records) % RECORD.size:
        return {}
    return {
        key: InspectionResult(
            None,
            Header(kind.rstrip(b"\0").decode(), (height, width), orientation, cmyk),
            sha256,
            number,
        )
        for key, sha256, number, kind, orientation, cmyk, height, width in (
            RECORD.iter_unpack(records)
        )
    }


@once
def _inspection_version() -> str:
    """Returns the versions of the inspecting code and its libraries."""
    decoders = sorted(Path(pillow.__file__).parent.glob("*.py"))
    modules = (filesystem.__file__, inspection.__file__, __file__)
    files = (*decoders, *map(Path, modules))
    code = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return repr([code, tf.__version__, PIL.__version__])
